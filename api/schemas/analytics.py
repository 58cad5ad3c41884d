"""Analytics on the wire: which time is asked about, and what is told of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Query
from pydantic import BaseModel, ConfigDict

from api.schemas.common import Text, read_time
from models.repositories.analytics import RunFilter
from models.repositories.analytics_span import DAY, HOUR, Span
from models.tables.base import now
from omium_core.errors import InvalidInput, Problem

Unit = Literal["hour", "day", "week", "month"]
RunGroup = Literal["hour", "day", "week", "month", "workflow", "framework", "model"]
UsageGroup = Literal["hour", "day", "week", "month", "workflow"]
Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled", "rolled_back"]
Report = Literal["executions", "usage", "costs"]

#: Days that an answer is about when nobody says which, today included.
DEFAULT_DAYS = 30
#: The longest time that is told by the hour.
MOST_DAYS_BY_HOUR = 31
_YEARS = range(1970, 2200)


class PeriodQuery:
    """From when to when. Days are whole and included; moments too."""

    def __init__(
        self,
        start_date: Annotated[
            Text | None,
            Query(
                max_length=64, description="The first day, or a moment in ISO 8601; 29 days before the last if not said"
            ),
        ] = None,
        end_date: Annotated[
            Text | None,
            Query(max_length=64, description="The last day, which is included, or a moment; today if not said"),
        ] = None,
        timezone: Annotated[
            Text, Query(max_length=64, description="The IANA name of the zone whose days and hours are meant")
        ] = "UTC",
    ) -> None:
        self._start, self._end, self.timezone = start_date, end_date, timezone

    def span(self, unit: str) -> Span:
        """Raises `InvalidInput`, which names the field."""
        if self.timezone not in available_timezones():
            raise _invalid("timezone", "is not the IANA name of a time zone, such as Europe/Berlin")
        zone = ZoneInfo(self.timezone)
        today = now().astimezone(zone).date()
        first, last = _read("start_date", self._start, zone), _read("end_date", self._end, zone)
        if last is None:
            last = max(today, _day(first, zone)) if first is not None else today
        end = (
            _begin(last + timedelta(days=1), zone) if type(last) is date else _moment(last) + timedelta(microseconds=1)
        )
        if first is None:
            first = _day(last, zone) - timedelta(days=DEFAULT_DAYS - 1)
        start = _moment(first) if isinstance(first, datetime) else _begin(first, zone)
        if end <= start:
            raise _invalid("start_date", "is not before end_date")
        # a day may have 25 hours
        if unit == "hour" and end - start > MOST_DAYS_BY_HOUR * DAY + HOUR:
            raise _invalid("group_by", f"`hour` is for at most {MOST_DAYS_BY_HOUR} days; ask for less, or for days")
        return Span(start, end, self.timezone)


class RunQuery:
    """Which runs are meant; all if nothing is said."""

    def __init__(
        self,
        workflow_id: UUID | None = None,
        framework: Annotated[Text | None, Query(max_length=50)] = None,
        status: Annotated[Status | None, Query(description="Only runs that are so now")] = None,
    ) -> None:
        self.wanted = RunFilter(workflow_id, framework, status)


class StepQuery:
    """Of which workflow; of all if nothing is said."""

    def __init__(self, workflow_id: UUID | None = None) -> None:
        self.wanted = RunFilter(workflow_id)


def _read(name: str, value: str | None, zone: ZoneInfo) -> date | datetime | None:
    if value is None:
        return None
    try:
        found = read_time(value)
    except ValueError as problem:
        raise _invalid(name, str(problem)) from None
    if found.year not in _YEARS:
        raise _invalid(name, f"is outside of the years {_YEARS[0]} to {_YEARS[-1]}")
    if isinstance(found, datetime) and found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return found


def _moment(at: date | datetime) -> datetime:
    assert isinstance(at, datetime), "days are read before"
    return at.astimezone(UTC)


def _begin(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _day(at: date | datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date() if isinstance(at, datetime) else at


def _invalid(name: str, words: str) -> InvalidInput:
    return InvalidInput(f"{name}: {words}.", [Problem(name, words)])


class _Told(BaseModel):
    #: Groups differ by what is grouped by.
    model_config = ConfigDict(extra="allow")


class Period(BaseModel):
    """What an answer is about: from `start` on, and before `end`."""

    start: datetime
    end: datetime
    timezone: str
    group_by: str


class ExecutionAnalytics(_Told):
    """Runs that were made in the period, as they stand now. `running` are those under way: pending, running or paused.

    `success_rate` is `successful` / (`successful` + `failed`). Durations are of these two; they, and the rate, are null where
    there are none. The list of groups is called `by_` and what is grouped by.
    """

    total_executions: int
    successful: int
    failed: int
    running: int
    cancelled: int
    rolled_back: int
    success_rate: float | None
    avg_duration_ms: int | None
    p50_duration_ms: int | None
    p95_duration_ms: int | None
    total_cost_usd: float
    total_tokens: int
    llm_calls: int
    tool_calls: int
    checkpoints: int
    checkpoints_per_execution: float | None
    rollbacks: int
    retries: int
    failure_breakdown: dict[str, int]
    period: Period


class ExecutionAnalyticsView(BaseModel):
    analytics: ExecutionAnalytics


class UsageAnalytics(_Told):
    """What was used in the period, when it was used. `storage_bytes` are those of the states that checkpoints wrote."""

    executions: int
    steps: int
    model_calls: int
    tool_calls: int
    tokens: int
    credits: int | float
    api_calls: int | None
    storage_bytes: int
    period: Period


class UsageAnalyticsView(BaseModel):
    analytics: UsageAnalytics


class CostAnalytics(_Told):
    """Credits that were spent in the period, as the ledger has them; the most expensive first."""

    total_credits: int | float
    total_cost_usd: float
    charges: int
    by_workflow: list[dict[str, Any]]
    by_model: list[dict[str, Any]]
    by_agent: list[dict[str, Any]]
    by_type: list[dict[str, Any]]
    period: Period


class CostAnalyticsView(BaseModel):
    analytics: CostAnalytics


class FailureAnalytics(_Told):
    """Everything that went wrong in the period, also what runs got over (`resolved`)."""

    total: int
    resolved: int
    unresolved: int
    by_type: dict[str, int]
    by_severity: dict[str, int]
    period: Period


class FailureAnalyticsView(BaseModel):
    analytics: FailureAnalytics


class CheckpointAnalytics(_Told):
    """Checkpoints that steps made in the period. `per_execution` is for each run that was made in it."""

    total_checkpoints: int
    total_bytes: int
    avg_bytes: int | None
    per_execution: float | None
    per_hour: float
    period: Period


class CheckpointAnalyticsView(BaseModel):
    analytics: CheckpointAnalytics
