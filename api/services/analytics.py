"""Analytics of the caller's tenant: figures of the database, as an answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth.principal import Principal
from api.schemas.analytics import PeriodQuery, RunGroup, Unit, UsageGroup
from api.wiring import Wiring
from models.repositories.analytics import (
    Grouped,
    RunFilter,
    begin_reading,
    names_of_workflows,
    sum_api_calls,
    sum_costs,
    sum_executions,
    sum_failures,
    sum_steps,
)
from models.repositories.analytics_durations import Percentiles, percentiles
from models.repositories.analytics_span import HOUR, UNITS, Span
from models.tables.base import now
from omium_core.credits import to_credits, to_dollars

#: Of workflows, models and agents, the most expensive ones are told.
MOST_COSTS = 1000
_NOBODY = UUID(int=0)
#: What a group of this kind is called in a list.
LABELS = {"hour": "hour", "day": "date", "week": "week", "month": "month", "workflow": "workflow_id"}


class AnalyticsService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def executions(
        self, caller: Principal, period: PeriodQuery, wanted: RunFilter, group: RunGroup
    ) -> dict[str, Any]:
        span = period.span(group)
        async with self._reading(caller) as session:
            runs, by_type = await sum_executions(session, caller.tenant_id, span, wanted, group)
            took, took_by = await percentiles(session, caller.tenant_id, span, wanted, group, runs.total.timed)
            names = await self._names(session, caller, runs.groups, group)
        total = _of_runs(runs.total, took)
        return {
            "total_executions": total.pop("total"),
            **total,
            f"by_{group}": [
                {**_label(row.key, group, span, names), **_of_runs(row, took_by.get(row.key))} for row in runs.groups
            ],
            "failure_breakdown": {name or "unknown": count for name, count in by_type.items()},
            "period": _period(span, group),
        }

    async def usage(
        self, caller: Principal, period: PeriodQuery, wanted: RunFilter, group: UsageGroup
    ) -> dict[str, Any]:
        span = period.span(group)
        tenant = caller.tenant_id
        async with self._reading(caller) as session:
            runs, _ = await sum_executions(session, tenant, span, wanted, group)
            steps = await sum_steps(session, tenant, span, wanted, group)
            costs = await sum_costs(session, tenant, span, wanted, group)
            # requests belong to no workflow
            has_calls = group != "workflow" and wanted.workflow_id is None
            calls = await sum_api_calls(session, tenant, span, group) if has_calls else None
            by_key = [{row.key: row for row in found.groups} if found else {} for found in (runs, steps, costs, calls)]
            keys = sorted(set().union(*by_key))
            names = await self._names(session, caller, (), group, keys)
        return {
            **_used(runs.total, steps.total, costs.total, calls.total if calls else None, has_calls=has_calls),
            f"by_{group}": [
                {**_label(key, group, span, names), **_used(*[rows.get(key) for rows in by_key], has_calls=has_calls)}
                for key in keys
            ],
            "period": _period(span, group),
        }

    async def costs(self, caller: Principal, period: PeriodQuery, wanted: RunFilter, unit: Unit) -> dict[str, Any]:
        span, tenant = period.span(unit), caller.tenant_id
        async with self._reading(caller) as session:
            times = await sum_costs(session, tenant, span, wanted, unit)
            workflows = await sum_costs(session, tenant, span, wanted, "workflow")
            models = await sum_costs(session, tenant, span, wanted, "model", "model")
            agents = await sum_costs(session, tenant, span, wanted, "agent")
            types = await sum_costs(session, tenant, span, wanted, "type")
            names = await self._names(session, caller, workflows.groups, "workflow")
        return {
            "total_credits": to_credits(times.total.cost_micro),
            "total_cost_usd": to_dollars(times.total.cost_micro),
            "charges": times.total.charges,
            f"by_{unit}": [{**_label(row.key, unit, span, {}), **_cost(row)} for row in times.groups],
            "by_workflow": [{**_label(row.key, "workflow", span, names), **_cost(row)} for row in _dearest(workflows)],
            "by_model": [{"model": row.key or None, **_cost(row)} for row in _dearest(models)],
            "by_agent": [{"agent": row.key or None, **_cost(row)} for row in _dearest(agents)],
            "by_type": [{"type": row.key or None, **_cost(row)} for row in _dearest(types)],
            "period": _period(span, unit),
        }

    async def failures(self, caller: Principal, period: PeriodQuery, wanted: RunFilter, unit: Unit) -> dict[str, Any]:
        span = period.span(unit)
        async with self._reading(caller) as session:
            rows = await sum_failures(session, caller.tenant_id, span, wanted, unit)
        types: Counter[str] = Counter()
        severities: Counter[str] = Counter()
        by_time: dict[datetime, Counter[str]] = defaultdict(Counter)
        for row in rows:
            types[row.failure_type] += row.failures
            severities[row.severity] += row.failures
            by_time[row.key][row.failure_type] += row.failures
        resolved = sum(row.failures for row in rows if row.recovery_status == "resolved")
        return {
            "total": types.total(),
            "resolved": resolved,
            "unresolved": types.total() - resolved,
            "by_type": dict(types.most_common()),
            "by_severity": dict(severities.most_common()),
            f"by_{unit}": [
                {**_label(key, unit, span, {}), "total": found.total(), "by_type": dict(found.most_common())}
                for key, found in sorted(by_time.items())
            ],
            "period": _period(span, unit),
        }

    async def checkpoints(
        self, caller: Principal, period: PeriodQuery, wanted: RunFilter, group: UsageGroup
    ) -> dict[str, Any]:
        span = period.span(group)
        async with self._reading(caller) as session:
            steps = await sum_steps(session, caller.tenant_id, span, wanted, group)
            runs, _ = await sum_executions(session, caller.tenant_id, span, wanted, group)
            names = await self._names(session, caller, steps.groups, group)
        # the hours to come have no checkpoints yet
        hours = max((min(span.end, now()) - span.start) / HOUR, 1.0)
        total = steps.total
        return {
            "total_checkpoints": total.checkpoints,
            "total_bytes": total.checkpoint_bytes,
            "avg_bytes": _ratio(total.checkpoint_bytes, total.checkpoints),
            "per_execution": _share(total.checkpoints, runs.total.executions),
            "per_hour": round(total.checkpoints / hours, 3),
            f"by_{group}": [
                {
                    **_label(row.key, group, span, names),
                    "checkpoints": row.checkpoints,
                    "bytes": row.checkpoint_bytes,
                    "avg_bytes": _ratio(row.checkpoint_bytes, row.checkpoints),
                }
                for row in steps.groups
                if row.checkpoints
            ],
            "period": _period(span, group),
        }

    @asynccontextmanager
    async def _reading(self, caller: Principal) -> AsyncIterator[AsyncSession]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            await begin_reading(session)
            yield session

    @staticmethod
    async def _names(
        session: AsyncSession, caller: Principal, rows: Sequence[Row[Any]], group: str, keys: Sequence[Any] = ()
    ) -> Mapping[UUID, str]:
        if group != "workflow":
            return {}
        return await names_of_workflows(session, caller.tenant_id, [*keys, *(row.key for row in rows)])


def _of_runs(row: Row[Any], took: Percentiles | None) -> dict[str, Any]:
    return {
        "total": row.executions,
        "successful": row.completed,
        "failed": row.failed,
        "running": row.pending + row.running + row.paused,
        "cancelled": row.cancelled,
        "rolled_back": row.rolled_back,
        "success_rate": _share(row.completed, row.completed + row.failed),
        "avg_duration_ms": _ratio(row.duration_ms, row.timed),
        "p50_duration_ms": took[0] if took else None,
        "p95_duration_ms": took[1] if took else None,
        "total_cost_usd": to_dollars(row.cost_micro),
        "total_tokens": row.tokens,
        "llm_calls": row.llm_calls,
        "tool_calls": row.tool_calls,
        "checkpoints": row.checkpoints,
        "checkpoints_per_execution": _share(row.checkpoints, row.executions),
        "rollbacks": row.rollbacks,
        "retries": row.retries,
    }


def _used(
    runs: Row[Any] | None,
    steps: Row[Any] | None,
    costs: Row[Any] | None,
    calls: Row[Any] | None,
    *,
    has_calls: bool,
) -> dict[str, Any]:
    return {
        "executions": runs.executions if runs else 0,
        "steps": steps.steps if steps else 0,
        "model_calls": steps.llm_calls if steps else 0,
        "tool_calls": steps.tool_calls if steps else 0,
        "tokens": steps.tokens if steps else 0,
        "credits": to_credits(costs.cost_micro) if costs else 0,
        "api_calls": (calls.calls if calls else 0) if has_calls else None,
        "storage_bytes": steps.checkpoint_bytes if steps else 0,
    }


def _cost(row: Row[Any]) -> dict[str, Any]:
    return {
        "credits": to_credits(row.cost_micro),
        "cost_usd": to_dollars(row.cost_micro),
        "charges": row.charges,
        "input_tokens": row.input_tokens,
        "cached_tokens": row.cached_tokens,
        "output_tokens": row.output_tokens,
    }


def _dearest(found: Grouped) -> Sequence[Row[Any]]:
    return sorted(found.groups, key=lambda row: (-row.cost_micro, str(row.key)))[:MOST_COSTS]


def _label(key: Any, group: str, span: Span, names: Mapping[UUID, str]) -> dict[str, Any]:
    """What a group is called: a day as `2026-01-31`, a week by its Monday, an hour with its offset."""
    if group in UNITS:
        local = key.astimezone(ZoneInfo(span.zone))
        told = {"hour": local.isoformat, "month": lambda: f"{local:%Y-%m}"}.get(group, local.date().isoformat)()
        return {LABELS[group]: told.replace("+00:00", "Z")}
    if group == "workflow":
        return {"workflow_id": None if key == _NOBODY else str(key), "workflow_name": names.get(key)}
    return {group: key or None}


def _period(span: Span, group: str) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "timezone": span.zone, "group_by": group}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


def _ratio(sum_: int, count: int) -> int | None:
    return round(sum_ / count) if count else None
