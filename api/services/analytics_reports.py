"""Analytics as a file: the groups of an answer, one to a line."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic_core import to_jsonable_python

from api.auth.principal import Principal
from api.schemas.analytics import PeriodQuery, Report, Unit
from api.services.analytics import LABELS, AnalyticsService
from api.spreadsheets import line
from api.wiring import Wiring
from models.repositories.analytics import RunFilter

Format = Literal["csv", "json"]
#: What one group of each report tells, after what it is called.
COLUMNS: dict[Report, tuple[str, ...]] = {
    "executions": (
        *("total", "successful", "failed", "running", "cancelled", "rolled_back", "success_rate", "avg_duration_ms"),
        *("p50_duration_ms", "p95_duration_ms", "total_cost_usd", "total_tokens", "llm_calls", "tool_calls"),
        *("checkpoints", "checkpoints_per_execution", "rollbacks", "retries"),
    ),
    "usage": ("executions", "steps", "model_calls", "tool_calls", "tokens", "credits", "api_calls", "storage_bytes"),
    "costs": ("credits", "cost_usd", "charges", "input_tokens", "cached_tokens", "output_tokens"),
}
_COSTS_BY = ("workflow", "model", "agent", "type")


class AnalyticsReports:
    def __init__(self, process: Wiring) -> None:
        self._analytics = AnalyticsService(process)

    async def report(
        self, caller: Principal, report: Report, kind: Format, period: PeriodQuery, wanted: RunFilter, unit: Unit
    ) -> tuple[bytes, str]:
        """The file, and what it is called. Costs are told by time, workflow, model, agent and type, one after the other."""
        if report == "executions":
            found = await self._analytics.executions(caller, period, wanted, unit)
        elif report == "usage":
            found = await self._analytics.usage(caller, period, wanted, unit)
        else:
            found = await self._analytics.costs(caller, period, wanted, unit)
        span = period.span(unit)
        days = (at.astimezone(ZoneInfo(span.zone)).date() for at in (span.start, span.end - timedelta.resolution))
        name = f"omium-{report}-{'-'.join(str(day) for day in days)}.{kind}"
        if kind == "json":
            return json.dumps({"analytics": to_jsonable_python(found)}, indent=2).encode(), name
        groups: list[tuple[str, Any]] = [(unit, row) for row in found[f"by_{unit}"]]
        if report == "costs":
            groups += [(group, row) for group in _COSTS_BY for row in found[f"by_{group}"]]
            heading: list[Any] = ["group_by", "group", *COLUMNS[report]]
            lines = [[group, _name(row), *_values(row, report)] for group, row in groups]
        else:
            heading = [LABELS[unit], *COLUMNS[report]]
            lines = [[_name(row), *_values(row, report)] for _, row in groups]
        return b"".join(line(values) for values in (heading, *lines)), name


def _name(row: dict[str, Any]) -> Any:
    """What a group is called: for people the name of a workflow, if it has one."""
    return row.get("workflow_name") or next(iter(row.values()))


def _values(row: dict[str, Any], report: Report) -> list[Any]:
    return [row[column] for column in COLUMNS[report]]
