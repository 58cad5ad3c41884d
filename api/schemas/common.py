"""What requests and answers share: texts that can be stored, lists that can be paged, checks of free JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer

from models.repositories.base import Listing, Page
from omium_core.errors import Problem

#: Deeper JSON than this is nobody's honest definition, and recursion over it would end badly.
MAX_DEPTH = 64


class Request(BaseModel):
    """A body: unknown fields are refused, because a misspelt one would be ignored in silence."""

    model_config = ConfigDict(extra="forbid")


def _storable(text: str) -> str:
    problem = _text_problem(text)
    if problem:
        raise ValueError(problem)
    return text


Text = Annotated[str, AfterValidator(_storable)]


def _on_one_line(text: str) -> str:
    line = " ".join(text.split())
    if not line:
        raise ValueError("must not be blank")
    # what joins letters and emoji is part of honest names
    if not line.replace("\u200c", "").replace("\u200d", "").isprintable():
        raise ValueError("must be printable")
    return line


#: A name that people read in a list: nothing that hides in it, no line breaks.
Line = Annotated[Text, AfterValidator(_on_one_line)]


def _in_utc(when: datetime) -> datetime:
    try:
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of the years 1 to 9999 in UTC") from None


#: A time; UTC where no zone is given.
Instant = Annotated[datetime, AfterValidator(_in_utc)]


def read_time(text: str) -> date | datetime:
    """A day or a moment in ISO 8601. Raises `ValueError` for anything else: a number of digits is no count of seconds."""
    try:
        if len(text) <= len("2026-01-31"):
            return date.fromisoformat(text)
        # a "+" that was not encoded arrives as a blank
        return datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
    except ValueError:
        raise ValueError("is neither a day such as 2026-01-31 nor a moment such as 2026-01-31T12:00:00Z") from None


def _text_problem(text: str) -> str | None:
    if "\x00" in text:
        return "must not contain a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "contains half of a surrogate pair, which is no text"
    return None


def json_problems(value: Any, path: str) -> list[Problem]:
    """What makes free JSON impossible to store or dangerous to walk: NUL, lone surrogates, NaN, great depth."""
    problems: list[Problem] = []
    waiting: list[tuple[Any, str, int]] = [(value, path, 0)]
    while waiting:
        item, where, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return [Problem(where[:200], f"is nested deeper than {MAX_DEPTH} levels")]
        if isinstance(item, str):
            if text := _text_problem(item):
                problems.append(Problem(where, text))
        elif isinstance(item, float) and not math.isfinite(item):
            problems.append(Problem(where, "must be a finite number"))
        elif isinstance(item, dict):
            for key, inner in item.items():
                if text := _text_problem(key):
                    problems.append(Problem(where, f"has a key that {text}"))
                waiting.append((inner, f"{where}.{key}", depth + 1))
        elif isinstance(item, list):
            waiting += [(inner, f"{where}[{index}]", depth + 1) for index, inner in enumerate(item)]
    return problems


class PageQuery:
    """Both ways of paging: `limit` with `cursor` or `offset`, and `page` with `per_page`."""

    def __init__(
        self,
        limit: Annotated[int | None, Query(ge=1, le=100)] = None,
        cursor: Annotated[UUID | None, Query(description="`next_cursor` of the answer before")] = None,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
        per_page: Annotated[int | None, Query(ge=1, le=100)] = None,
    ) -> None:
        self.limit = limit or per_page or 20
        self.page = page
        self.offset = offset or (page - 1) * self.limit
        self.cursor = cursor

    def as_page(self) -> Page:
        return Page(limit=self.limit, cursor=self.cursor, offset=self.offset)


def listing(name: str, items: Sequence[Any], found: Listing[Any], query: PageQuery) -> dict[str, Any]:
    """The answer for a list: `{"<plural>": [...], "total", "limit", "next_cursor", "page", "per_page"}`."""
    return {
        name: items,
        "total": found.total,
        "limit": query.limit,
        "next_cursor": found.next_cursor,
        "page": query.page,
        "per_page": query.limit,
    }


def credits_of(micro: int) -> int | float:
    """Millionths of a credit -> credits: a whole number where it is one."""
    return micro // 10**6 if micro % 10**6 == 0 else micro / 10**6


#: Millionths of a credit inside, credits outside.
Credits = Annotated[int, PlainSerializer(credits_of)]
