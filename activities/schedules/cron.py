"""Cron expressions of five fields: minute, hour, day of the month, month, day of the week.

Read here and not by Temporal, so that a wrong one is refused while the request is there, with the name of its field; and so
that a day of the month and a day of the week together mean what they mean in cron: one of them is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_MONTHS = dict(jan=1, feb=2, mar=3, apr=4, may=5, jun=6, jul=7, aug=8, sep=9, oct=10, nov=11, dec=12)  # noqa: C408
_DAYS = dict(sun=0, mon=1, tue=2, wed=3, thu=4, fri=5, sat=6)  # noqa: C408
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>[0-9]{1,4}))?")
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
SECONDS_OF_DAY = 86_400


class CronError(ValueError):
    """What is wrong with an expression, in words for whoever wrote it."""


@dataclass(frozen=True)
class Span:
    """Every `step`-th number from `first` to `last`."""

    first: int
    last: int
    step: int = 1

    def numbers(self) -> range:
        return range(self.first, self.last + 1, self.step)


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: Mapping[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of the month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)
Which = Literal["minute", "hour", "day_of_month", "month", "day_of_week"]


@dataclass(frozen=True)
class Calendar:
    """Times at which all of these hold. Days of the week count from Sunday, which is 0."""

    minute: tuple[Span, ...]
    hour: tuple[Span, ...]
    day_of_month: tuple[Span, ...]
    month: tuple[Span, ...]
    day_of_week: tuple[Span, ...]

    def count(self, which: Which) -> int:
        """How many different numbers a field has."""
        spans: tuple[Span, ...] = getattr(self, which)
        return len({number for span in spans for number in span.numbers()})


def read(expression: str) -> tuple[Calendar, ...]:
    """The calendars whose times together are those of the expression. Raises `CronError`."""
    words = _NICKNAMES.get(expression.strip().lower(), expression).split()
    if len(words) != len(_FIELDS):
        raise CronError(
            f"A cron expression has five fields (minute, hour, day of the month, month, day of the week); this has {len(words)}"
        )
    minute, hour, day, month, weekday = (_spans(word, field) for word, field in zip(words, _FIELDS, strict=True))
    every_day, every_weekday = _spans("*", _FIELDS[2]), (Span(0, 6),)
    if not any(
        first <= _LONGEST_MONTH.get(number, 31)
        for first in (span.first for span in day)
        for number in (number for span in month for number in span.numbers())
    ) and words[4].startswith("*"):
        raise CronError("There is no such day in these months, so it would never fire")
    either = not words[2].startswith("*") and not words[4].startswith("*")
    if not either:
        return (Calendar(minute, hour, day, month, weekday),)
    return (
        Calendar(minute, hour, day, month, every_weekday),
        Calendar(minute, hour, every_day, month, weekday),
    )


def at_most_a_day(calendars: Sequence[Calendar]) -> int:
    """How often calendars fire on one day at most."""
    return sum(calendar.count("minute") * calendar.count("hour") for calendar in calendars)


def _spans(word: str, field: _Field) -> tuple[Span, ...]:
    return tuple(span for part in word.split(",") for span in _part(part, field))


def _part(part: str, field: _Field) -> list[Span]:
    found = _PART.fullmatch(part)
    if found is None or (found["first"] == "*" and found["last"]):
        raise CronError(f"{part[:50]!r} is nothing that a {field.name} can be")
    step = 1 if found["step"] is None else int(found["step"])
    if step == 0:
        raise CronError(f"The step of {part!r} must not be 0")
    highest = 6 if field.names is _DAYS else field.highest
    if found["first"] == "*":
        return [Span(field.lowest, highest, step)]
    first = _number(found["first"], field)
    unnamed = first if found["step"] is None else highest
    last = unnamed if found["last"] is None else _number(found["last"], field)
    if field.names is _DAYS and last == 0 and first > 0:
        # fri-sun
        last = 7
    if last < first:
        raise CronError(f"The range {part!r} of the {field.name} ends before it begins")
    return _on_a_week(Span(first, last, step)) if field.names is _DAYS else [Span(first, last, step)]


def _on_a_week(span: Span) -> list[Span]:
    """Sunday is 0 and 7 in cron, and 0 in Temporal."""
    if 7 not in span.numbers():
        return [Span(span.first, min(span.last, 6), span.step)]
    rest = [Span(span.first, 6, span.step)] if span.first < 7 else []
    return [*rest, Span(0, 0)]


def _number(text: str, field: _Field) -> int:
    number = field.names.get(text.lower())
    if number is None:
        if not (text.isascii() and text.isdigit()):
            raise CronError(f"{text[:50]!r} is no {field.name}")
        number = int(text)
    if not field.lowest <= number <= field.highest:
        raise CronError(f"{number} is no {field.name}: it goes from {field.lowest} to {field.highest}")
    return number
