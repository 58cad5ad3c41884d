"""Bodies and queries as Stripe takes them: `items[0][price]=price_1&metadata[a]=b`, all values texts."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

_PART = re.compile(r"\[([^\]]*)\]")


def parse(text: str) -> dict[str, Any]:
    """Nested objects and lists of texts; a list has keys that are numbers, or none."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        first, _, rest = name.partition("[")
        path = [first, *_PART.findall("[" + rest if rest else "")]
        place = found
        for part, after in pairwise(path):
            place = place.setdefault(part or str(len(place)), {})
            assert isinstance(place, dict), f"{after} of what is a text"
        place[path[-1] or str(len(place))] = value
    return {name: _listed(value) for name, value in found.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    values = {name: _listed(inner) for name, inner in value.items()}
    return list(values.values()) if values and all(name.isdigit() for name in values) else values


def truth(value: Any) -> bool:
    return value in (True, "true")
