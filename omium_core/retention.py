"""How long a tenant's data is kept, as `tenants.settings` says: days, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What is kept where a tenant says nothing.
CHECKPOINT_DAYS, TRACE_DAYS, AUDIT_DAYS = 30, 90, 90
#: What a tenant may say. The audit log never keeps less than a month: retention drops whole ones.
SHORTEST, SHORTEST_AUDIT, LONGEST = 1, 30, 3650


@dataclass(frozen=True)
class Retention:
    """Days. `trace_days` is for the call journal, events, notifications, deliveries, and times of schedules."""

    checkpoint_days: int = CHECKPOINT_DAYS
    trace_days: int = TRACE_DAYS
    audit_days: int = AUDIT_DAYS


def retention_of(settings: Mapping[str, Any]) -> Retention:
    """What `settings.retention` says; a value that cannot be is as good as none."""
    said = settings.get("retention")
    said = said if isinstance(said, Mapping) else {}
    return Retention(
        _days(said.get("checkpoint_days"), CHECKPOINT_DAYS, SHORTEST),
        _days(said.get("trace_days"), TRACE_DAYS, SHORTEST),
        _days(said.get("audit_days"), AUDIT_DAYS, SHORTEST_AUDIT),
    )


def _days(value: Any, default: int, least: int) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and least <= value <= LONGEST else default
