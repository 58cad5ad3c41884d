"""Repairs what a crash between two systems left behind: rows without a workflow, and rows whose workflow is gone.

Runs in every worker; PostgreSQL lets one of them work at a time.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.launch import launch
from activities.records import Records
from models.database import Database, is_database_away
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.executions import pending_executions, running_executions
from models.tables import Checkpoint, Execution
from models.wire import FinishInput
from omium_core import temporal
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

_LOCK = 0x7265636F6E63  # "reconc", for pg_try_advisory_xact_lock
EVERY = 2.0
#: A row that its own request is still working on is left alone for this long, in seconds.
PENDING_GRACE = 2.0
#: A run is asked after in Temporal when its row was not touched for this long, in seconds.
RUNNING_GRACE = 60.0
_ENDED_OTHERWISE = {
    WorkflowExecutionStatus.TERMINATED: ("failed", "The workflow was terminated in Temporal."),
    WorkflowExecutionStatus.CANCELED: ("cancelled", ""),
    WorkflowExecutionStatus.FAILED: ("failed", "The workflow failed in Temporal."),
    WorkflowExecutionStatus.TIMED_OUT: ("failed", "The workflow timed out in Temporal."),
}


class Reconciler:
    def __init__(self, client: Client, database: Database, records: Records, settings: Settings) -> None:
        self._client = client
        self._database = database
        self._records = records
        self._settings = settings

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
        async with self._database.transaction() as db:
            if not (await db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar():
                return
            waiting = await pending_executions(db, older_than=PENDING_GRACE)
            checkpoints = [await CheckpointRepository(db, row.tenant_id).latest(row.id, row.lineage) for row in waiting]
            silent = await running_executions(db, older_than=RUNNING_GRACE)
        for row, checkpoint in zip(waiting, checkpoints, strict=True):
            await self._start(row, checkpoint)
        for row in silent:
            await self._ask_after(row)

    async def _start(self, row: Execution, checkpoint: Checkpoint | None) -> None:
        try:
            await launch(self._client, row, self._settings, checkpoint=checkpoint)
            log.info("a pending execution was started", execution_id=str(row.id))
        except WorkflowAlreadyStartedError:
            # it began and ended before its row said so: only possible if somebody ended it in Temporal
            await self._ask_after(row)

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
            await self._records.finish(
                _end(row.tenant_id, row.id, row.lineage, *ended), "Retry it from its last checkpoint.", "high"
            )
            log.warning("an execution had ended in Temporal only", execution_id=str(row.id), status=ended[0])


def _end(tenant_id: UUID, execution_id: UUID, lineage: int, status: str, message: str) -> FinishInput:
    return FinishInput(
        tenant_id=str(tenant_id),
        execution_id=str(execution_id),
        lineage=lineage,
        status=status,
        failure_type="workflow_ended" if status == "failed" else "",
        message=message,
    )
