"""Values as CSV, safe for whoever opens it in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

#: A spreadsheet takes a cell that begins so for a formula; agents and names are chosen by callers.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """A value as the text of a cell. Numbers stay numbers; a text that looks like a formula is marked as a text."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"'{text}" if text.startswith(_FORMULA) else text


def line(values: Sequence[Any]) -> bytes:
    """Values as a line of CSV, in UTF-8."""
    written = io.StringIO()
    csv.writer(written).writerow([cell(value) for value in values])
    return written.getvalue().encode(errors="replace")
