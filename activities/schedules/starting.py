"""The activities of a schedule that fires: begin an execution once for each time, tell how it stands, end it.

The row of the time and the rows of the execution are one transaction, so that a time that fires twice, or whose worker dies,
has one execution.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.schedules.sync import forget
from activities.starting import make_execution
from activities.stores.values import ValueStore
from activities.turns import start_waiting
from models.database import Database
from models.repositories.limits import check_checkpoints
from models.repositories.schedules import ScheduleRepository
from models.repositories.starts import Paying
from models.repositories.webhooks import WebhookRepository
from models.tables import Execution, Schedule, ScheduleRun
from models.wire_commands import CancelCommand
from models.wire_schedules import Fire, Fired, Started
from omium_core import temporal
from omium_core.errors import OmiumError, TenantErased, Unavailable
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

FIRED = Counter("omium_schedules_fired_total", "Times that schedules fired", ["outcome"])
#: What a run says when its schedule begins the next one instead.
_REASON = "The schedule begins its next run."
GONE = "gone"


class ScheduleActivities:
    """Belongs to one event loop."""

    def __init__(self, client: Client, database: Database, values: ValueStore, settings: Settings) -> None:
        self._client = client
        self._database = database
        self._values = values
        self._settings = settings

    @activity.defn(name="start_scheduled")
    async def start(self, fire: Fire) -> Fired:
        """The execution of one time: a new one, or the one that this time has already."""
        tenant_id, schedule_id = UUID(fire.tenant_id), UUID(fire.schedule_id)
        at = datetime.fromisoformat(fire.at)
        try:
            run = await self._run_of(tenant_id, schedule_id, at)
        except TenantErased:
            run = None
        if run is None:
            # its row is gone for good: rows come before what Temporal has
            await forget(self._client, tenant_id, schedule_id)
            return Fired(status=GONE)
        if run.execution_id is None:
            return Fired(refused=run.error_code or "")
        await start_waiting(self._client, self._database, self._settings, tenant_id)
        return Fired(execution_id=str(run.execution_id), status="pending")

    @activity.defn(name="scheduled_status")
    async def status(self, started: Started) -> str:
        """How an execution stands; `gone` if it is not there any more."""
        tenant_id = UUID(started.tenant_id)

        async def work(session: AsyncSession) -> str | None:
            query = select(col(Execution.status)).where(
                col(Execution.tenant_id) == tenant_id, col(Execution.id) == UUID(started.execution_id)
            )
            found: str | None = (await session.execute(query)).scalar_one_or_none()
            return found

        try:
            return await self._database.run(tenant_id, work) or GONE
        except TenantErased:
            return GONE

    @activity.defn(name="cancel_scheduled")
    async def cancel(self, started: Started) -> None:
        """Tells the run to end; one that has ended hears nothing."""
        handle = self._client.get_workflow_handle(temporal.workflow_id(started.tenant_id, started.execution_id))
        command = CancelCommand(id=started.command_id, reason=_REASON, actor="schedule")
        try:
            await handle.signal("cancel", command)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def _run_of(self, tenant_id: UUID, schedule_id: UUID, at: datetime) -> ScheduleRun | None:
        """What came of a time, now or before; None if the schedule is gone."""
        try:
            return await self._database.run(tenant_id, lambda session: self._begin(session, tenant_id, schedule_id, at))
        except (Unavailable, TenantErased):
            raise
        except OmiumError as error:
            refusal = error
        log.warning("a schedule could not start its run", schedule_id=str(schedule_id), code=refusal.code)
        return await self._database.run(
            tenant_id, lambda session: _refuse(session, tenant_id, schedule_id, at, refusal)
        )

    async def _begin(
        self, session: AsyncSession, tenant_id: UUID, schedule_id: UUID, at: datetime
    ) -> ScheduleRun | None:
        schedules = ScheduleRepository(session, tenant_id)
        # locked, so that two attempts for one time come one after the other
        schedule = await schedules.find(schedule_id, lock=True)
        if schedule is None:
            return None
        before = await schedules.run_at(schedule_id, at)
        if before is not None:
            return before
        await check_checkpoints(session, tenant_id)
        execution = await make_execution(
            session,
            self._values,
            tenant_id,
            workflow_id=schedule.workflow_id,
            inputs=schedule.inputs,
            metadata={"schedule_id": str(schedule_id), "scheduled_at": at.isoformat()},
            trigger_type="scheduled",
            triggered_by=schedule.created_by,
            paying=Paying(enforced=self._settings.enforces_credits),
        )
        run = ScheduleRun(
            tenant_id=tenant_id, schedule_id=schedule_id, scheduled_at=at, execution_id=execution.id, status="started"
        )
        session.add(run)
        await session.flush()
        FIRED.labels("started").inc()
        return run


async def _refuse(
    session: AsyncSession, tenant_id: UUID, schedule_id: UUID, at: datetime, error: OmiumError
) -> ScheduleRun | None:
    schedules = ScheduleRepository(session, tenant_id)
    schedule = await schedules.find(schedule_id, lock=True)
    if schedule is None:
        return None
    before = await schedules.run_at(schedule_id, at)
    if before is not None:
        return before
    run = ScheduleRun(
        tenant_id=tenant_id,
        schedule_id=schedule_id,
        scheduled_at=at,
        status="refused",
        error_code=error.code,
        error_message=error.message,
    )
    session.add(run)
    await session.flush()
    await WebhookRepository(session, tenant_id).tell(
        "schedule.refused", _refused(schedule, at, error), subject=str(schedule_id)
    )
    FIRED.labels("refused").inc()
    return run


def _refused(schedule: Schedule, at: datetime, error: OmiumError) -> dict[str, Any]:
    return {
        "schedule_id": str(schedule.id),
        "workflow_id": str(schedule.workflow_id),
        "name": schedule.name,
        "scheduled_at": at.isoformat(),
        "error": {"code": error.code},
    }
