"""What analytics should say, worked out from what a test remembers, in the plainest way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.analytics.runs import MadeRun, MadeStep

Chosen = Callable[[datetime], bool]


def executions(runs: Sequence[MadeRun], chosen: Chosen, group: str, zone: str) -> dict[str, Any]:
    """The answer of `/analytics/executions`, without its period."""
    found = [run for run in runs if chosen(run.made)]
    total = _of_runs(found)
    keys = sorted({_key(run, group, zone) for run in found})
    failed = Counter(run.failures[-1] if run.failures else "unknown" for run in found if run.status == "failed")
    return {
        "total_executions": total.pop("total"),
        **total,
        f"by_{group}": [
            {_name(group): key or None, **_of_runs([run for run in found if _key(run, group, zone) == key])}
            for key in keys
        ],
        "failure_breakdown": dict(failed),
    }


def usage(runs: Sequence[MadeRun], chosen: Chosen, group: str, zone: str) -> dict[str, Any]:
    """The answer of `/analytics/usage`, without its period, credits and requests."""
    made = [(run.made, run) for run in runs if chosen(run.made)]
    steps = [(run.made + step.after, step) for run in runs for step in run.steps if chosen(run.made + step.after)]
    keys = sorted({period(at, group, zone) for at, _ in [*made, *steps]})
    rows = [
        {
            _name(group): key,
            **_used(
                [run for at, run in made if period(at, group, zone) == key],
                [step for at, step in steps if period(at, group, zone) == key],
            ),
        }
        for key in keys
    ]
    return {**_used([run for _, run in made], [step for _, step in steps]), f"by_{group}": rows}


def period(at: datetime, unit: str, zone: str) -> str:
    """What the hour, day, week or month of a moment is called."""
    local = at.astimezone(ZoneInfo(zone))
    day = local.date()
    if unit == "hour":
        # the hour on the clock; where an hour comes twice, the offset tells which one it is
        began = (
            local - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        ).isoformat()
        return began.replace("+00:00", "Z")
    if unit == "week":
        day -= timedelta(days=day.weekday())
    return f"{day:%Y-%m}" if unit == "month" else day.isoformat()


def between(start: datetime, end: datetime) -> Chosen:
    """From `start` on, and before `end`."""
    return lambda at: start <= at < end


def days(first: Any, last: Any, zone: str) -> Chosen:
    """Whole days of a zone, both included."""
    return lambda at: first <= at.astimezone(ZoneInfo(zone)).date() <= last


def _key(run: MadeRun, group: str, zone: str) -> str:
    others = {"workflow": str(run.workflow), "framework": run.framework, "model": run.model or ""}
    return others[group] if group in others else period(run.made, group, zone)


def _name(group: str) -> str:
    return {"day": "date", "workflow": "workflow_id"}.get(group, group)


def _of_runs(runs: Sequence[MadeRun]) -> dict[str, Any]:
    statuses = Counter(run.status for run in runs)
    took = sorted(run.milliseconds for run in runs if run.status in ("completed", "failed"))
    checkpoints = sum(len(run.steps) for run in runs)
    well, badly = statuses["completed"], statuses["failed"]
    return {
        "total": len(runs),
        "successful": well,
        "failed": badly,
        "running": statuses["pending"] + statuses["running"] + statuses["paused"],
        "cancelled": statuses["cancelled"],
        "rolled_back": statuses["rolled_back"],
        "success_rate": round(well / (well + badly), 3) if well + badly else None,
        "avg_duration_ms": round(sum(took) / len(took)) if took else None,
        "p50_duration_ms": _percentile(took, 0.5),
        "p95_duration_ms": _percentile(took, 0.95),
        "total_cost_usd": sum(run.sum("cost") for run in runs) / 10**8,
        "total_tokens": sum(run.sum("tokens") for run in runs),
        "llm_calls": sum(run.sum("calls") for run in runs),
        "tool_calls": sum(run.sum("tools") for run in runs),
        "checkpoints": checkpoints,
        "checkpoints_per_execution": round(checkpoints / len(runs), 3) if runs else None,
        "rollbacks": 0,
        "retries": sum(run.retries for run in runs),
    }


def _used(runs: Sequence[MadeRun], steps: Sequence[MadeStep]) -> dict[str, Any]:
    return {
        "executions": len(runs),
        "steps": len(steps),
        "model_calls": sum(step.calls for step in steps),
        "tool_calls": sum(step.tools for step in steps),
        "tokens": sum(step.tokens for step in steps),
        "storage_bytes": sum(step.size for step in steps),
    }


def _percentile(ordered: Sequence[int], part: float) -> int | None:
    if not ordered:
        return None
    place = part * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return round(low + (high - low) * (place - math.floor(place)))


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)
