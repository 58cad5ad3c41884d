"""`/schedules`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response

from api.auth.principal import Principal
from api.deps import Schedules, requires
from api.schemas.common import PageQuery, listing
from api.schemas.executions import IdempotencyHeader
from api.schemas.schedules import (
    BackfillSchedule,
    PauseSchedule,
    ScheduleAnswer,
    ScheduleCreate,
    ScheduleDetail,
    ScheduleList,
    ScheduleRunList,
    ScheduleUpdate,
    TriggerSchedule,
)

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.post("", status_code=201, response_model=ScheduleDetail)
async def create(
    body: ScheduleCreate, schedules: Schedules, caller: Annotated[Principal, requires("schedule:create")]
) -> ScheduleDetail:
    """Runs a workflow by itself from now on."""
    return await schedules.create(caller, body)


@router.get("", response_model=ScheduleList)
async def list_all(
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:read")],
    page: Annotated[PageQuery, Depends()],
    workflow_id: UUID | None = None,
    paused: bool | None = None,
) -> dict[str, Any]:
    found, shown = await schedules.list(caller, page.as_page(), workflow_id=workflow_id, paused=paused)
    return listing("schedules", shown, found, page)


@router.get("/{schedule_id}", response_model=ScheduleDetail)
async def get(
    schedule_id: UUID, schedules: Schedules, caller: Annotated[Principal, requires("schedule:read")]
) -> ScheduleDetail:
    """With the next times, as Temporal sees them, and the last ones that it fired."""
    return await schedules.get(caller, schedule_id)


@router.put("/{schedule_id}", response_model=ScheduleDetail)
@router.patch("/{schedule_id}", response_model=ScheduleDetail)
async def update(
    schedule_id: UUID,
    body: ScheduleUpdate,
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:update")],
) -> ScheduleDetail:
    """Changes what is named. Runs that have begun keep what they began with."""
    return await schedules.update(caller, schedule_id, body)


@router.delete("/{schedule_id}", status_code=204)
async def delete(
    schedule_id: UUID, schedules: Schedules, caller: Annotated[Principal, requires("schedule:delete")]
) -> Response:
    """Nothing fires any more. Runs that have begun go on."""
    await schedules.delete(caller, schedule_id)
    return Response(status_code=204)


@router.get("/{schedule_id}/runs", response_model=ScheduleRunList)
async def runs(
    schedule_id: UUID,
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    """The times that it fired, the newest first: what each started, or why it started nothing."""
    found, shown = await schedules.runs(caller, schedule_id, page.as_page())
    return listing("runs", shown, found, page)


@router.post("/{schedule_id}/pause", response_model=ScheduleAnswer)
async def pause(
    schedule_id: UUID,
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:pause")],
    body: PauseSchedule | None = None,
) -> ScheduleAnswer:
    """Nothing fires until it is resumed. Runs that have begun go on."""
    schedule = await schedules.pause(caller, schedule_id, body.note if body else None)
    return ScheduleAnswer(schedule=schedule, message="The schedule is paused.")


@router.post("/{schedule_id}/resume", response_model=ScheduleAnswer)
@router.post("/{schedule_id}/unpause", response_model=ScheduleAnswer, include_in_schema=False)
async def resume(
    schedule_id: UUID,
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:pause")],
    body: PauseSchedule | None = None,
) -> ScheduleAnswer:
    """Fires again at its times. Those in between are not made up for: a backfill does that."""
    schedule = await schedules.resume(caller, schedule_id, body.note if body else None)
    return ScheduleAnswer(schedule=schedule, message="The schedule goes on.")


@router.post("/{schedule_id}/trigger", status_code=202, response_model=ScheduleAnswer)
async def trigger(
    schedule_id: UUID,
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:trigger")],
    body: TriggerSchedule | None = None,
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> ScheduleAnswer:
    """Fires now, besides its times, also when it is paused. What it started is among its runs a moment later."""
    schedule = await schedules.trigger(caller, schedule_id, body or TriggerSchedule(), idempotency_key)
    return ScheduleAnswer(schedule=schedule, message="The schedule fires now.")


@router.post("/{schedule_id}/backfill", status_code=202, response_model=ScheduleAnswer)
async def backfill(
    schedule_id: UUID,
    body: BackfillSchedule,
    schedules: Schedules,
    caller: Annotated[Principal, requires("schedule:trigger")],
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> ScheduleAnswer:
    """Fires for the times of a span that is past. A time that has its execution already starts no other."""
    schedule = await schedules.backfill(caller, schedule_id, body, idempotency_key)
    return ScheduleAnswer(schedule=schedule, message="The schedule fires for these times.")
