"""Schedules on the wire."""

from __future__ import annotations

import functools
import zoneinfo
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from activities.schedules import cron
from api.schemas.common import Instant, Request, Text

OverlapPolicy = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]
_MOST_EXPRESSIONS = 20
#: A Temporal schedule has no shorter ones.
_SHORTEST_WINDOW, _LONGEST = timedelta(seconds=10), timedelta(days=366)


@functools.cache
def _zones() -> frozenset[str]:
    # those are none of the tz database's: what the machine that is asked happens to have, and that nobody set one
    return frozenset(zoneinfo.available_timezones()) - {"localtime", "Factory"}


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError(f"There is no time zone {name!r}; it must be a name such as Europe/Berlin")
    return name


def _readable(expression: str) -> str:
    cron.read(expression)
    return expression


def _whole(interval: timedelta) -> timedelta:
    if interval.microseconds:
        raise ValueError("Must be whole seconds")
    return interval


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[Text, Field(min_length=1, max_length=255)]
Description = Annotated[Text, Field(max_length=10_000)]
Note = Annotated[Text, Field(max_length=500)]
Expression = Annotated[Text, Field(max_length=255), AfterValidator(_readable)]
Cron = Annotated[
    list[Expression],
    Field(min_length=1, max_length=_MOST_EXPRESSIONS, examples=["30 7 * * mon-fri", ["0 9 * * *", "0 17 * * *"]]),
    BeforeValidator(_one_or_several, json_schema_input_type=str | list[str]),
]
Interval = Annotated[
    timedelta,
    Field(ge=timedelta(seconds=1), le=_LONGEST, description="Whole seconds, or a duration such as PT15M"),
    AfterValidator(_whole),
]
Window = Annotated[
    timedelta,
    Field(ge=_SHORTEST_WINDOW, le=_LONGEST, description="Seconds, or a duration such as PT1H"),
]
Zone = Annotated[Text, Field(min_length=1, max_length=64, examples=["Europe/Berlin"]), AfterValidator(_zone)]


class ScheduleCreate(Request):
    """When a workflow is run, by `cron` or by `interval`, and with which inputs."""

    workflow_id: UUID
    name: Name
    description: Description | None = None
    cron: Cron | None = None
    interval: Interval | None = None
    timezone: Zone = "UTC"
    inputs: dict[str, Any] = Field(default_factory=dict)
    overlap_policy: OverlapPolicy = "skip"
    catchup_window: Window = timedelta(days=1)
    paused: bool = False
    note: Note | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None


class ScheduleUpdate(Request):
    """What is not named stays as it is. `cron` takes the place of an `interval`, and the other way round."""

    name: Name | None = None
    description: Description | None = None
    cron: Cron | None = None
    interval: Interval | None = None
    timezone: Zone | None = None
    inputs: dict[str, Any] | None = None
    overlap_policy: OverlapPolicy | None = None
    catchup_window: Window | None = None
    paused: bool | None = None
    note: Note | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None


class PauseSchedule(Request):
    note: Note | None = None


class TriggerSchedule(Request):
    """Without an `overlap_policy`, the schedule's own holds."""

    overlap_policy: OverlapPolicy | None = None


class BackfillSchedule(Request):
    """The times from `from` to `to`, both included, as if they were now.

    Without an `overlap_policy` they start one after the other; all at once where the schedule's own is `allow_all`.
    """

    model_config = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True)

    from_: Annotated[Instant, Field(alias="from")]
    to: Instant
    overlap_policy: OverlapPolicy | None = None


class RunError(BaseModel):
    code: str
    message: str


class ScheduleRunView(BaseModel):
    """One time that a schedule fired. A `refused` one started nothing: `error` says why."""

    id: UUID
    scheduled_at: datetime
    fired_at: datetime
    status: Literal["started", "refused"]
    execution_id: UUID | None
    execution_status: str | None
    error: RunError | None


class ScheduleCounts(BaseModel):
    """As Temporal counts: `skipped` because a run was under way, `missed` because nothing could fire in time."""

    fired: int
    running: int
    skipped: int
    missed: int


class ScheduleView(BaseModel):
    """A schedule. `synced` says whether Temporal has it as it is here; `next_run_times` are Temporal's own.

    `inputs` are null for who may not see payloads. Durations are in seconds.
    """

    id: UUID
    workflow_id: UUID
    name: str
    description: str | None
    cron: str | list[str] | None
    interval: float | None
    timezone: str
    inputs: dict[str, Any] | None
    overlap_policy: OverlapPolicy
    catchup_window: float
    paused: bool
    note: str | None
    start_at: datetime | None
    end_at: datetime | None
    synced: bool
    next_run_times: list[datetime]
    created_at: datetime
    updated_at: datetime


class ScheduleDetail(ScheduleView):
    recent_runs: list[ScheduleRunView]
    #: None while Temporal does not answer.
    counts: ScheduleCounts | None


class ScheduleAnswer(BaseModel):
    schedule: ScheduleView
    message: str


class ScheduleList(BaseModel):
    schedules: list[ScheduleView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class ScheduleRunList(BaseModel):
    runs: list[ScheduleRunView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int
