"""Pure: a list filter that somebody typed -> the same filter, held to one tenant.

The text is taken apart and put together again from its parts, so that no quote, comment or parenthesis in it can reach out of
the place where it is put.
"""

from __future__ import annotations

import re
from uuid import UUID

from omium_core.errors import InvalidInput, Problem

_MAX_CHARACTERS = 4_000
_PART = re.compile(
    r"""\s*(?:
    (?P<text>'[^'\\]*'|"[^"\\]*")
    |(?P<name>`[A-Za-z_][A-Za-z0-9_]*`|[A-Za-z_][A-Za-z0-9_.]*)
    |(?P<number>-?[0-9]+(?:\.[0-9]+)?)
    |(?P<sign><=|>=|!=|<>|[=<>(),])
    )\s*""",
    re.VERBOSE,
)
_TAILS = {"group", "order"}


def of_tenant(query: str, tenant_id: UUID) -> str:
    """The filter and the tenant's own. Raises `InvalidInput` for what is no filter."""
    parts = _parts(query)
    split = _tail(parts)
    wanted = ["AND", "(", *parts[:split], ")"] if split else []
    return " ".join([f"Tenant = '{tenant_id}'", *wanted, *parts[split:]])


def _parts(query: str) -> list[str]:
    if len(query) > _MAX_CHARACTERS:
        raise _invalid(f"longer than {_MAX_CHARACTERS} characters")
    parts, at, depth = [], 0, 0
    query = query.strip()
    while at < len(query):
        found = _PART.match(query, at)
        if found is None:
            raise _invalid(f"not understood from character {at} on")
        part = found[0].strip()
        depth += (part == "(") - (part == ")")
        if depth < 0:
            raise _invalid("a parenthesis is closed that was not opened")
        parts.append(part)
        at = found.end()
    if depth:
        raise _invalid("a parenthesis is not closed")
    return parts


def _tail(parts: list[str]) -> int:
    """Where GROUP BY or ORDER BY begins, which no parentheses may hold."""
    depth = 0
    for place, part in enumerate(parts):
        depth += (part == "(") - (part == ")")
        if part.lower() in _TAILS and depth == 0 and [p.lower() for p in parts[place + 1 : place + 2]] == ["by"]:
            if any(p in "()" for p in parts[place:]):
                raise _invalid("parentheses after GROUP BY or ORDER BY")
            return place
    return len(parts)


def _invalid(reason: str) -> InvalidInput:
    return InvalidInput(f"query: {reason}.", [Problem("query", reason)])
