"""Paths into JSON data: `customer.name`, `lines[0].text`, `steps.1.raw`. Pure."""

from __future__ import annotations

import re
from typing import Final

from activities.adapters.base import Json

_NAME: Final = r"[^\s.\[\]](?:[^.\[\]]*[^\s.\[\]])?"
_PATH: Final = re.compile(rf"{_NAME}(?:\.{_NAME}|\[\d{{1,9}}\])*")
_PART: Final = re.compile(r"[^.\[\]]+")

Parts = tuple[str, ...]


class NothingThere(LookupError):
    """A path leads nowhere. `place` is the first part of it that is not there, with what leads to it."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


def parse(path: str) -> Parts | None:
    """The parts of a path, or None if it is none."""
    return tuple(_PART.findall(path)) if _PATH.fullmatch(path) else None


def lookup(data: Json, parts: Parts) -> Json:
    """What lies at a path; the items of a list are numbered from 0. Raises `NothingThere`."""
    for index, part in enumerate(parts):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdecimal() and int(part) < len(data):
            data = data[int(part)]
        else:
            raise NothingThere(".".join(parts[: index + 1]))
    return data
