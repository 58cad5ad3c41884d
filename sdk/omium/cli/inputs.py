"""JSON that a user gives: in an option, in a file, or on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from omium.cli.output import fail


def json_option(value: str, option: str) -> dict[str, Any]:
    """The object in an option's value: JSON itself, `@FILE`, or `-` for standard input. Else the command ends."""
    if value == "-":
        return json_file("-", option)
    if value.startswith("@"):
        return json_file(value[1:], option)
    return _parse(value, option)


def json_file(name: str, option: str) -> dict[str, Any]:
    """The object in a file; `-` is standard input. If there is none, the command ends."""
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        fail(f"{option}: cannot read {name}: {error.strerror}.", code=2)
    source = f"{option}: {'standard input' if name == '-' else name}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"{source} is not valid UTF-8 (byte {error.start + 1}).", code=2)
    return _parse(text, source)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        fail(f"{source} is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", code=2)
    except (ValueError, RecursionError) as error:
        fail(f"{source} is not valid JSON: {error}.", code=2)
    if not isinstance(value, dict):
        fail(f"{source} must hold a JSON object, as in {{...}}.", code=2)
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON knows")
