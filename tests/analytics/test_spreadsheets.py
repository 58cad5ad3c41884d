"""Cells of CSV, as whoever opens them in a spreadsheet sees them."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from api.spreadsheets import cell, line


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_text_is_no_formula(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "told"), [(None, ""), (-3, "-3"), (1.5, "1.5"), (True, "true"), ("a=b", "a=b"), ({"a": 1}, '{"a":1}')]
)
def test_other_values_are_as_they_are(value: Any, told: str) -> None:
    assert cell(value) == told


def test_a_line_is_read_as_it_was_written() -> None:
    assert list(csv.reader(io.StringIO(line(['a "b"', "c,d", "e\nf"]).decode()))) == [['a "b"', "c,d", "e\nf"]]
