"""Makes Temporal's schedule agree with its row: the row is written first, then this is called, and again until it worked.

One at a time for each schedule: the row is locked while Temporal is told, so that what is older never comes last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from activities.schedules import cron
from models.database import Database
from models.repositories.schedules import ScheduleRepository
from models.tables import Schedule as Row
from models.wire_schedules import Fire
from omium_core import temporal

OVERLAP = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "buffer_one": ScheduleOverlapPolicy.BUFFER_ONE,
    "buffer_all": ScheduleOverlapPolicy.BUFFER_ALL,
    "cancel_other": ScheduleOverlapPolicy.CANCEL_OTHER,
    "allow_all": ScheduleOverlapPolicy.ALLOW_ALL,
}
#: How long Temporal is waited for.
PATIENCE = timedelta(seconds=5)


@dataclass(frozen=True)
class Outlook:
    """What Temporal says of a schedule. Times are in UTC; counts are since it was made."""

    next_times: Sequence[datetime] = ()
    running: int = 0
    fired: int = 0
    #: Times that were passed over: because a run was under way, or because nothing could fire in time.
    skipped_overlap: int = 0
    missed: int = 0
    paused: bool = False


def handle_of(client: Client, tenant_id: UUID, schedule_id: UUID) -> ScheduleHandle:
    return client.get_schedule_handle(temporal.schedule_id(tenant_id, schedule_id))


async def sync(client: Client, database: Database, tenant_id: UUID, schedule_id: UUID) -> None:
    """Tells Temporal how a schedule is now. Raises `RPCError` or `RuntimeError` when it does not hear it."""
    async with database.transaction(tenant_id) as session:
        schedules = ScheduleRepository(session, tenant_id)
        row = await schedules.find(schedule_id, lock=True, deleted=True)
        if row is None or row.synced_revision == row.revision:
            return
        if row.deleted_at is not None:
            await forget(client, tenant_id, schedule_id)
            await schedules.delete(row)
            return
        await _put(client, row)
        row.synced_revision = row.revision
        session.add(row)


async def mend(client: Client, database: Database, tenant_id: UUID, schedule_id: UUID) -> bool:
    """Tells Temporal anew of a schedule that it has lost. Whether it had."""
    if await outlook(client, tenant_id, schedule_id) is not None:
        return False

    async def work(session: AsyncSession) -> None:
        row = await ScheduleRepository(session, tenant_id).find(schedule_id, lock=True)
        if row is not None:
            row.synced_revision = 0
            session.add(row)

    await database.run(tenant_id, work)
    await sync(client, database, tenant_id, schedule_id)
    return True


async def forget(client: Client, tenant_id: UUID, schedule_id: UUID) -> None:
    """Takes a schedule out of Temporal, if it is there. What it started goes on."""
    try:
        await handle_of(client, tenant_id, schedule_id).delete(rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


async def outlook(client: Client, tenant_id: UUID, schedule_id: UUID) -> Outlook | None:
    """What Temporal says; None if it knows nothing of the schedule. Raises `RPCError` and `RuntimeError` when it is away."""
    try:
        said: ScheduleDescription = await handle_of(client, tenant_id, schedule_id).describe(rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return None
    info = said.info
    paused = said.schedule.state.paused
    return Outlook(
        next_times=() if paused else tuple(info.next_action_times),
        running=len(info.running_actions),
        fired=info.num_actions,
        skipped_overlap=info.num_actions_skipped_overlap,
        missed=info.num_actions_missed_catchup_window,
        paused=paused,
    )


def calendars(expressions: Sequence[str]) -> list[cron.Calendar]:
    return [calendar for expression in expressions for calendar in cron.read(expression)]


async def _put(client: Client, row: Row) -> None:
    wanted = _schedule(row)
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await handle_of(client, row.tenant_id, row.id).update(_replaced(wanted))
        return
    except TimeoutError as error:
        raise RuntimeError("Temporal did not answer in time") from error
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    try:
        await client.create_schedule(
            temporal.schedule_id(row.tenant_id, row.id),
            wanted,
            search_attributes=_attributes(row),
            rpc_timeout=PATIENCE,
        )
    except ScheduleAlreadyRunningError:
        # somebody was quicker, with a row that was not newer
        await handle_of(client, row.tenant_id, row.id).update(_replaced(wanted))


def _replaced(wanted: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    """What `ScheduleHandle.update` calls with the schedule as it is."""
    return lambda _before: ScheduleUpdate(schedule=wanted)


def _attributes(row: Row) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(temporal.TENANT, str(row.tenant_id)),
            SearchAttributePair(temporal.DEFINITION, str(row.workflow_id)),
        ]
    )


def _schedule(row: Row) -> Schedule:
    tenant = str(row.tenant_id)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            temporal.SCHEDULED_WORKFLOW,
            Fire(tenant_id=tenant, schedule_id=str(row.id)),
            id=temporal.schedule_id(row.tenant_id, row.id),
            task_queue=temporal.maintenance_queue(),
            typed_search_attributes=_attributes(row),
            static_summary=temporal.summary(row.name),
            priority=Priority(fairness_key=tenant[:64]),
        ),
        spec=_spec(row),
        policy=SchedulePolicy(
            overlap=OVERLAP[row.overlap_policy], catchup_window=timedelta(seconds=row.catchup_window)
        ),
        # why it is paused is the tenant's own words, and Temporal keeps notes of schedules in the clear
        state=ScheduleState(paused=row.paused),
    )


def _spec(row: Row) -> ScheduleSpec:
    intervals = [] if row.interval_seconds is None else [ScheduleIntervalSpec(timedelta(seconds=row.interval_seconds))]
    return ScheduleSpec(
        calendars=[_calendar(calendar, row) for calendar in calendars(row.cron or ())],
        intervals=intervals,
        start_at=row.start_at,
        end_at=row.end_at,
        time_zone_name=row.timezone,
    )


def _calendar(calendar: cron.Calendar, row: Row) -> ScheduleCalendarSpec:
    def ranges(spans: Sequence[cron.Span]) -> list[ScheduleRange]:
        return [ScheduleRange(span.first, span.last, span.step) for span in spans]

    return ScheduleCalendarSpec(
        minute=ranges(calendar.minute),
        hour=ranges(calendar.hour),
        day_of_month=ranges(calendar.day_of_month),
        month=ranges(calendar.month),
        day_of_week=ranges(calendar.day_of_week),
        comment=", ".join(row.cron or ())[:200],
    )
