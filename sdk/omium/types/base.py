"""What all answers share: pages, statuses."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

JsonObject = dict[str, Any]

Status = Literal["pending", "running", "paused", "completed", "failed", "rolled_back", "cancelled"]

#: A run in one of these does not move by itself any more.
TERMINAL_STATUSES: frozenset[str] = frozenset({"completed", "failed", "cancelled", "rolled_back"})


class Page(TypedDict, total=False):
    """What every list has beside its items. `next_cursor` is None on the last page."""

    total: int
    limit: int
    next_cursor: str | None
    page: int
    per_page: int
