"""Repairs what a crash between two systems left behind: rows without a workflow, and rows whose workflow is gone.

Runs in every worker; PostgreSQL lets one of them work at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.launch import launch
from activities.position import load_position
from activities.run_records import RunRecords
from activities.turns import fairness_weight, start_waiting
from models.database import Database, is_database_away
from models.repositories.executions import (
    ExecutionRepository,
    Known,
    running_among,
    running_executions,
)
from models.repositories.queue import admitted_executions, tenants_waiting
from models.tables import Execution
from models.wire import FinishInput
from omium_core import temporal
from omium_core.errors import NotFound
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

_LOCK = 0x7265636F6E63  # "reconc", for pg_try_advisory_xact_lock
EVERY = 2.0
#: A row that its own request is still working on is left alone for this long, in seconds.
PENDING_GRACE = 2.0
#: How far back, in seconds, runs that Temporal closed are looked for: further than its list is ever late.
CLOSED_LATELY = 30.0
#: A run that this look missed is asked after when its row was not touched for this long; some of them this often.
RUNNING_GRACE = 60.0
RUNNING_EVERY = 10.0
_ENDED_OTHERWISE = {
    WorkflowExecutionStatus.TERMINATED: ("failed", "The workflow was terminated in Temporal."),
    WorkflowExecutionStatus.CANCELED: ("cancelled", ""),
    WorkflowExecutionStatus.FAILED: ("failed", "The workflow failed in Temporal."),
    WorkflowExecutionStatus.TIMED_OUT: ("failed", "The workflow timed out in Temporal."),
}
_CLOSED = (
    f"WorkflowType = '{temporal.RUN_WORKFLOW}' AND CloseTime > '{{since}}' "
    "AND ExecutionStatus IN ('Terminated', 'Canceled', 'Failed', 'TimedOut')"
)
#: What Temporal says when it is well and this one request can never succeed.
_HOPELESS = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION)


class Reconciler:
    def __init__(self, client: Client, database: Database, records: RunRecords, settings: Settings) -> None:
        self._client = client
        self._database = database
        self._records = records
        self._settings = settings
        self._asked_last: UUID | None = None
        self._ask_next = 0.0

    async def run(self) -> None:
        """For ever, every few seconds."""
        while True:
            try:
                await self.once()
            except Exception as error:
                if not (is_database_away(error) or isinstance(error, RPCError)):
                    raise
                log.warning("reconciliation has to wait", error=str(error))
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        async with self._database.system() as db:
            if not (await db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar():
                return
            # the lock is held to the end, so that nobody repairs the same row at the same time
            for known in await admitted_executions(db, older_than=PENDING_GRACE):
                await self._unless_gone(self._start(*known))
            for tenant_id in await tenants_waiting(db):
                await self._unless_gone(start_waiting(self._client, self._database, self._settings, tenant_id))
            for known in (*await self._closed_lately(db), *await self._silent(db)):
                await self._unless_gone(self._look_at(*known))

    @staticmethod
    async def _unless_gone(work: Awaitable[object]) -> None:
        """Repairs one thing; one whose tenant is being erased needs it no more."""
        try:
            await work
        except NotFound as error:
            log.info("what was to be repaired is gone", reason=error.message)

    async def _look_at(self, tenant_id: UUID, execution_id: UUID) -> None:
        await self._ask_after(await self._row(tenant_id, execution_id))

    async def _row(self, tenant_id: UUID, execution_id: UUID) -> Execution:
        async with self._database.transaction(tenant_id) as db:
            return await ExecutionRepository(db, tenant_id).get(execution_id)

    async def _closed_lately(self, db: AsyncSession) -> Sequence[Known]:
        """Executions that are under way although Temporal closed their workflow not long ago."""
        since = datetime.now(UTC) - timedelta(seconds=CLOSED_LATELY)
        found = self._client.list_workflows(_CLOSED.format(since=since.isoformat(timespec="seconds")), limit=1000)
        closed = [UUID(run.id.rpartition("/")[2]) async for run in found]
        return await running_among(db, closed) if closed else ()

    async def _silent(self, db: AsyncSession) -> Sequence[Known]:
        """The next of those that are under way and have said nothing for long, now and then."""
        if time.monotonic() < self._ask_next:
            return ()
        self._ask_next = time.monotonic() + RUNNING_EVERY
        rows = await running_executions(db, older_than=RUNNING_GRACE, after=self._asked_last)
        self._asked_last = rows[-1][1] if rows else None
        return rows

    async def _start(self, tenant_id: UUID, execution_id: UUID) -> None:
        async with self._database.transaction(tenant_id) as db:
            row = await ExecutionRepository(db, tenant_id).get(execution_id)
            position = await load_position(db, row)
        try:
            weight = await fairness_weight(self._database, self._settings, tenant_id)
            await launch(self._client, row, self._settings, weight=weight, position=position)
            log.info("a pending execution was started", execution_id=str(row.id))
        except WorkflowAlreadyStartedError:
            if row.retry_count == 0:
                # it began and ended before its row said so: only possible if somebody ended it in Temporal
                await self._ask_after(row)
        except RPCError as error:
            if error.status not in _HOPELESS:
                raise
            log.error("Temporal refuses to start an execution", execution_id=str(row.id), error=str(error))

    async def _ask_after(self, row: Execution) -> None:
        handle = self._client.get_workflow_handle(temporal.workflow_id(row.tenant_id, row.id))
        try:
            status = (await handle.describe()).status
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            ended: tuple[str, str] | None = ("failed", "The workflow is gone from Temporal.")
        else:
            ended = _ENDED_OTHERWISE.get(status) if status is not None else None
        if ended is not None:
            await self._records.finish(_end(row, *ended))
            log.warning("an execution had ended in Temporal only", execution_id=str(row.id), status=ended[0])


def _end(row: Execution, status: str, message: str) -> FinishInput:
    return FinishInput(
        tenant_id=str(row.tenant_id),
        execution_id=str(row.id),
        lineage=row.lineage,
        retry=row.retry_count,
        status=status,
        failure_type="workflow_ended" if status == "failed" else "",
        message=message,
    )
