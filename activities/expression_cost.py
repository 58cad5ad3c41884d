"""Estimates what a condition costs before it is evaluated.

The CEL library cannot be interrupted and copies lists inside `map` and `+`: a few hundred characters can keep it busy for
hours. So a condition is evaluated at once only if a careful estimate says that this takes a moment. The estimate counts
words, not syntax: what it mistakes for a loop makes it too high, and nothing can hide a loop from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Deeper data could exhaust the stack of a thread inside the library, which ends the process.
MAX_DATA_DEPTH = 100
#: Estimates above this many steps (about 100 ns each) are not evaluated in the worker itself.
CHEAP_STEPS = 3_000_000
#: Where nothing is copied, a step takes a tenth of that.
_COMPARISON_DISCOUNT = 10
_UNBOUNDED = 10**18

_LOOP = re.compile(r"\b(?:all|exists|exists_one|map|filter)\b")
_COPYING_LOOP = re.compile(r"\b(?:map|filter)\b")
_MATCH = re.compile(r"\bmatches\b")
_LITERAL_MATCH = re.compile(r"""\.\s*matches\s*\(\s*[rR]?(?:"[^"]*"|'[^']*')\s*\)""")
_REPETITION = re.compile(r"\{(\d*),?(\d*)")
_HIDING_ESCAPE = re.compile(r"\\[xXuU0-3]")
#: Steps to compile one character of a regular expression.
_REGEX_CHARACTER = 2_000


@dataclass(frozen=True)
class DataSize:
    """How much data an expression can walk: values and characters, and the length of the longest list or map."""

    total: int
    longest: int
    depth: int


def measure(values: Mapping[str, Any]) -> DataSize:
    """The size of JSON data. Stops below `MAX_DATA_DEPTH`, as what lies there is refused anyway."""
    total, longest, depth = 0, 0, 0
    pending: list[tuple[Any, int]] = [(value, 1) for value in values.values()]
    while pending:
        value, level = pending.pop()
        total += 1
        depth = max(depth, level)
        if level > MAX_DATA_DEPTH:
            break
        if isinstance(value, str):
            total += len(value) // 16
        elif isinstance(value, Mapping):
            longest = max(longest, len(value))
            pending.extend((item, level + 1) for item in value.values())
        elif isinstance(value, list | tuple):
            longest = max(longest, len(value))
            pending.extend((item, level + 1) for item in value)
    return DataSize(total, longest, depth)


def is_cheap(source: str, size: DataSize) -> bool:
    """Whether evaluating a condition over data of this size takes a moment."""
    loops = len(_LOOP.findall(source))
    # A comma separates the items of the lists that the source itself holds.
    longest = max(size.longest, source.count(",") + 1)
    iterations: int = min(longest**loops, _UNBOUNDED)
    additions = source.count("+")
    steps = (size.total + len(source)) * (1 + additions**2) * iterations
    if _COPYING_LOOP.search(source):
        steps *= longest
    elif not additions:
        steps //= _COMPARISON_DISCOUNT
    return steps + _regex_steps(source) * iterations <= CHEAP_STEPS


def _regex_steps(source: str) -> int:
    """A pattern is compiled each time; its counted repetitions, as in `a{100}`, multiply its size."""
    matches = len(_MATCH.findall(source))
    if not matches:
        return 0
    literal = len(_LITERAL_MATCH.findall(source)) == matches and not _HIDING_ESCAPE.search(source) and "+" not in source
    if not literal:
        return _UNBOUNDED
    repeated = 1
    for numbers in _REPETITION.findall(source):
        repeated *= max((int(number[:6]) for number in numbers if number), default=1) or 1
    return min(len(source) * _REGEX_CHARACTER * repeated, _UNBOUNDED)
