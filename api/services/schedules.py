"""Schedules: make, read, change, pause, trigger, backfill, delete.

The row is committed first, then Temporal is told. What it does not hear now, the workers tell it (`workers/schedules.py`);
the answer says so by `synced`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.client import ScheduleBackfill, ScheduleHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.schedules import cron
from activities.schedules.sync import OVERLAP, PATIENCE, Outlook, calendars, handle_of, outlook, sync
from activities.starting import check_inputs
from api.auth.principal import Principal
from api.limits.sizes import check_input_size
from api.schemas.common import json_problems
from api.schemas.schedules import (
    BackfillSchedule,
    RunError,
    ScheduleCounts,
    ScheduleCreate,
    ScheduleDetail,
    ScheduleRunView,
    ScheduleUpdate,
    ScheduleView,
    TriggerSchedule,
)
from api.services import idempotency
from api.services.auditing import audited
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.schedules import Fired, ScheduleRepository
from models.repositories.workflows import WorkflowRepository
from models.tables import Schedule, ScheduleRun
from models.tables.base import now
from omium_core.errors import Conflict, InvalidInput, Problem, Unavailable

log = structlog.get_logger(__name__)

#: What a schedule shows of the times that it fired.
RECENT = 10
#: How many times one backfill may have.
MOST_BACKFILLED = 10_000
#: Seconds for which a list waits for what Temporal says of its schedules.
_OUTLOOK_PATIENCE = 2.0
_ASKED_AT_ONCE = 10
_STARTS_ALL = ("buffer_all", "allow_all")
#: Those that null takes away; of the others null says nothing.
_MAY_BE_NULL = ("description", "note", "start_at", "end_at")


class ScheduleService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def create(self, caller: Principal, wanted: ScheduleCreate) -> ScheduleDetail:
        """Raises `WorkflowNotFound`, and `InvalidInput` naming the field that is wrong."""
        if (wanted.cron is None) == (wanted.interval is None):
            raise _problem("cron", "Give either cron or interval.")
        row = Schedule(
            tenant_id=caller.tenant_id,
            created_by=caller.user_id,
            interval_seconds=None if wanted.interval is None else wanted.interval.total_seconds(),
            catchup_window=wanted.catchup_window.total_seconds(),
            **wanted.model_dump(exclude={"interval", "catchup_window"}),
        )
        _check_bounds(row)
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            if await schedules.count() >= self._process.settings.max_schedules:
                raise Conflict(f"There are {self._process.settings.max_schedules} schedules already: delete one first.")
            await self._check_inputs(session, caller, row)
            await schedules.add(row)
            await audited(session, caller, "schedule.create", "schedule", row.id, new=_shown_to_auditors(row))
        await self._tell(row)
        return await self.get(caller, row.id)

    async def get(self, caller: Principal, schedule_id: UUID) -> ScheduleDetail:
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            row = await schedules.get(schedule_id)
            _, fired = await schedules.runs(schedule_id, Page(limit=RECENT))
        seen = await self._outlook(row)
        counts = seen and ScheduleCounts(
            fired=seen.fired, running=seen.running, skipped=seen.skipped_overlap, missed=seen.missed
        )
        return ScheduleDetail(
            **dict(_view(row, caller, seen)), recent_runs=[_run_view(run) for run in fired], counts=counts
        )

    async def list(self, caller: Principal, page: Page, **filters: Any) -> tuple[Listing[Schedule], list[ScheduleView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await ScheduleRepository(session, caller.tenant_id).list(page, **filters)
        limit = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def ask(row: Schedule) -> Outlook | None:
            async with limit:
                return await self._outlook(row)

        asked = [asyncio.create_task(ask(row)) for row in found.rows]
        if asked:
            _, late = await asyncio.wait(asked, timeout=_OUTLOOK_PATIENCE)
            for task in late:
                task.cancel()
        seen = [task.result() if task.done() and not task.cancelled() else None for task in asked]
        return found, [_view(row, caller, said) for row, said in zip(found.rows, seen, strict=True)]

    async def runs(
        self, caller: Principal, schedule_id: UUID, page: Page
    ) -> tuple[Listing[ScheduleRun], Sequence[ScheduleRunView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            await schedules.get(schedule_id)
            found, fired = await schedules.runs(schedule_id, page)
        return found, [_run_view(run) for run in fired]

    async def update(self, caller: Principal, schedule_id: UUID, wanted: ScheduleUpdate) -> ScheduleDetail:
        """Runs that have begun keep what they began with."""
        changes = {
            name: value
            for name, value in wanted.model_dump(exclude_unset=True).items()
            if value is not None or name in _MAY_BE_NULL
        }
        if "cron" in changes and "interval" in changes:
            raise _problem("cron", "Give either cron or interval.")
        for name in ("interval", "catchup_window"):
            if name in changes:
                changes[name] = changes[name].total_seconds()
        if "cron" in changes:
            changes["interval_seconds"] = None
        if "interval" in changes:
            changes |= {"interval_seconds": changes.pop("interval"), "cron": None}
        return await self._change(caller, schedule_id, changes, "schedule.update")

    async def pause(self, caller: Principal, schedule_id: UUID, note: str | None) -> ScheduleDetail:
        """Nothing fires until it is resumed. Pausing twice is as good as once."""
        return await self._change(caller, schedule_id, {"paused": True, "note": note}, "schedule.pause")

    async def resume(self, caller: Principal, schedule_id: UUID, note: str | None) -> ScheduleDetail:
        return await self._change(caller, schedule_id, {"paused": False, "note": note}, "schedule.resume")

    async def delete(self, caller: Principal, schedule_id: UUID) -> None:
        """Nothing fires any more; runs that have begun go on."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            row = await schedules.get(schedule_id, lock=True)
            row.deleted_at = now()
            await schedules.change(row)
            await audited(session, caller, "schedule.delete", "schedule", row.id, old=_shown_to_auditors(row))
        await self._tell(row)

    async def trigger(
        self, caller: Principal, schedule_id: UUID, wanted: TriggerSchedule, key: str | None
    ) -> ScheduleView:
        """Fires now, also when it is paused. Raises `Unavailable` when Temporal does not hear it."""
        overlap = None if wanted.overlap_policy is None else OVERLAP[wanted.overlap_policy]

        async def fire(handle: ScheduleHandle) -> None:
            await handle.trigger(overlap=overlap, rpc_timeout=PATIENCE)

        digest = idempotency.request_hash("trigger", schedule_id, wanted.model_dump())
        return await self._command(caller, schedule_id, "schedule.trigger", {}, fire, key, digest)

    async def backfill(
        self, caller: Principal, schedule_id: UUID, wanted: BackfillSchedule, key: str | None
    ) -> ScheduleView:
        """Fires for times that are past. A time that has its execution already starts no other."""
        if wanted.to < wanted.from_:
            raise _problem("to", "Must not be before from.")
        if wanted.to > now():
            raise _problem("to", "Must not be in the future.")
        async with self._process.database.transaction(caller.tenant_id) as session:
            row = await ScheduleRepository(session, caller.tenant_id).get(schedule_id)
        times = _at_most(row, wanted.to - wanted.from_)
        if times > MOST_BACKFILLED:
            raise _problem("from", f"These may be {times} times; one backfill takes {MOST_BACKFILLED} at most.")
        # these times come all at once: by any other policy most of them would be passed over
        own = row.overlap_policy if row.overlap_policy in _STARTS_ALL else "buffer_all"
        overlap = OVERLAP[wanted.overlap_policy or own]

        async def fire(handle: ScheduleHandle) -> None:
            span = ScheduleBackfill(start_at=wanted.from_, end_at=wanted.to, overlap=overlap)
            await handle.backfill(span, rpc_timeout=PATIENCE)

        digest = idempotency.request_hash("backfill", schedule_id, wanted.model_dump(mode="json"))
        span = {"from": wanted.from_.isoformat(), "to": wanted.to.isoformat()}
        return await self._command(caller, schedule_id, "schedule.backfill", span, fire, key, digest)

    async def _command(
        self,
        caller: Principal,
        schedule_id: UUID,
        action: str,
        values: dict[str, Any],
        fire: Callable[[ScheduleHandle], Awaitable[None]],
        key: str | None,
        digest: str,
    ) -> ScheduleView:
        """Has Temporal fire. The key is claimed only if it did: whoever was told 503 may try again with it."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            row = await schedules.get(schedule_id)
            await idempotency.earlier(session, caller, key, digest)
        await self._tell(row)
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            row = await schedules.get(schedule_id)
            if key is None or await schedules.claim(key, digest):
                await audited(session, caller, action, "schedule", schedule_id, new=values or None)
                try:
                    await fire(handle_of(self._process.temporal, caller.tenant_id, schedule_id))
                except (RPCError, RuntimeError) as error:
                    raise Unavailable("Temporal does not answer; try again in a moment.") from error
        return _view(row, caller, await self._outlook(row))

    async def _change(
        self, caller: Principal, schedule_id: UUID, changes: dict[str, Any], action: str
    ) -> ScheduleDetail:
        async with self._process.database.transaction(caller.tenant_id) as session:
            schedules = ScheduleRepository(session, caller.tenant_id)
            row = await schedules.get(schedule_id, lock=True)
            before = _shown_to_auditors(row)
            for name, value in changes.items():
                setattr(row, name, value)
            _check_bounds(row)
            if "inputs" in changes:
                await self._check_inputs(session, caller, row)
            await schedules.change(row)
            await audited(session, caller, action, "schedule", row.id, old=before, new=_shown_to_auditors(row))
        await self._tell(row)
        return await self.get(caller, schedule_id)

    async def _check_inputs(self, session: AsyncSession, caller: Principal, row: Schedule) -> None:
        problems = json_problems(row.inputs, "inputs")
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        check_input_size(self._process.settings, row.inputs)
        _, version, _ = await WorkflowRepository(session, caller.tenant_id).current(row.workflow_id)
        check_inputs(version, row.inputs)

    async def _tell(self, row: Schedule) -> None:
        """Makes Temporal agree with the row now, or leaves it to the workers."""
        try:
            await sync(self._process.temporal, self._process.database, row.tenant_id, row.id)
        except (RPCError, RuntimeError) as error:
            if isinstance(error, RPCError) and error.status == RPCStatusCode.INVALID_ARGUMENT:
                log.error("Temporal refuses a schedule", schedule_id=str(row.id), error=str(error))
            else:
                log.warning("Temporal did not hear of a schedule yet", schedule_id=str(row.id), error=str(error))

    async def _outlook(self, row: Schedule) -> Outlook | None:
        try:
            async with asyncio.timeout(_OUTLOOK_PATIENCE):
                return await outlook(self._process.temporal, row.tenant_id, row.id)
        except (RPCError, RuntimeError, TimeoutError):
            return None


def _problem(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", [Problem(path, message)])


def _check_bounds(row: Schedule) -> None:
    if row.start_at is not None and row.end_at is not None and row.end_at <= row.start_at:
        raise _problem("end_at", "Must be after start_at.")


def _at_most(row: Schedule, span: timedelta) -> int:
    """How often a schedule fires within a span, at most."""
    if row.interval_seconds is not None:
        return int(span.total_seconds() / row.interval_seconds) + 1
    return cron.at_most_a_day(calendars(row.cron or ())) * (span.days + 1)


def _shown_to_auditors(row: Schedule) -> dict[str, Any]:
    """Without the inputs, which are payload."""
    hidden = {"id", "tenant_id", "inputs", "description", "revision", "synced_revision", "created_at", "updated_at"}
    return row.model_dump(mode="json", exclude=hidden)


def _view(row: Schedule, caller: Principal, seen: Outlook | None) -> ScheduleView:
    expressions = row.cron or []
    times: list[datetime] = [] if seen is None else list(seen.next_times)
    synced = row.synced_revision == row.revision
    return ScheduleView(
        # somebody may have paused it in Temporal itself
        paused=seen.paused if seen and synced else row.paused,
        cron=expressions[0] if len(expressions) == 1 else expressions or None,
        interval=row.interval_seconds,
        inputs=row.inputs if caller.may("payload:read") else None,
        synced=synced,
        next_run_times=times,
        **row.model_dump(
            include=set(ScheduleView.model_fields)
            - {"cron", "interval", "inputs", "paused", "synced", "next_run_times"}
        ),
    )


def _run_view(fired: Fired) -> ScheduleRunView:
    run, status = fired
    error = None if run.error_code is None else RunError(code=run.error_code, message=run.error_message or "")
    return ScheduleRunView(
        fired_at=run.created_at,
        execution_status=status,
        error=error,
        **run.model_dump(include={"id", "scheduled_at", "status", "execution_id"}),
    )
