"""Taking a run up again: one that ended, from its last checkpoint; one that waits for a person after a failure, as it is."""

from __future__ import annotations

from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities import questions
from api.auth.principal import Principal
from api.schemas.executions import ExecutionSummary
from api.services import idempotency, views
from api.services.auditing import detailed
from api.services.launching import launch_admitted
from api.services.steering import SteeringService
from api.wiring import Wiring
from models.repositories.approvals import ApprovalRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.failures import FailureRepository
from models.repositories.journal import JournalRepository
from models.repositories.parking import MONEY
from models.repositories.queue import admit, queue_again
from models.repositories.starts import Paying, check_start
from models.tables import Execution, ExecutionEvent
from models.tables.base import now
from omium_core.errors import ExecutionCannotResume, ExecutionCannotRetry

#: Why a run is paused that could not recover by itself.
RECOVERY = "recovery"
#: Statuses of a step that did not get to its end.
_BROKEN_OFF = ("failed", "cancelled", "running", "waiting")


class RetryService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def retry(self, caller: Principal, execution_id: UUID, key: str | None = None) -> ExecutionSummary:
        """Raises `ExecutionCannotRetry` for an execution that neither ended badly nor waits for recovery or money."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(execution_id)
        # repeated when it runs already, the key means the same in both cases
        digest = idempotency.request_hash("retry", execution_id)
        if execution.status != "paused" or execution.reason not in (RECOVERY, *MONEY):
            return await self._take_up(caller, execution_id, key, digest)
        try:
            answer = await SteeringService(self._process).resume(caller, execution_id, key, digest)
        except ExecutionCannotResume as error:
            raise ExecutionCannotRetry(error.message, **error.details) from error
        return ExecutionSummary(**{name: getattr(answer.execution, name) for name in ExecutionSummary.model_fields})

    async def _take_up(self, caller: Principal, execution_id: UUID, key: str | None, digest: str) -> ExecutionSummary:
        """Starts a failed or cancelled execution from its last checkpoint; answered calls are not repeated."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            # the lock also makes a repetition with the same key wait for the first
            execution = await ExecutionRepository(session, caller.tenant_id).get(execution_id, lock=True)
            usage = (await JournalRepository(session, caller.tenant_id).usage([execution_id])).get(execution_id, [])
            if await idempotency.earlier(session, caller, key, digest) is not None:
                return views.execution_summary(execution, usage)
            if execution.status not in ("failed", "cancelled"):
                raise ExecutionCannotRetry(
                    f"Only a failed or cancelled execution can be retried; this one is {execution.status}.",
                    execution_id=str(execution_id),
                    status=execution.status,
                )
            await self._process.limits.check_checkpoints(session, caller.tenant_id)
            await check_start(
                session,
                caller.tenant_id,
                Paying(self._process.settings.enforces_credits, execution.api_key_id),
                workflow_id=execution.workflow_id,
                root_id=execution.root_id or execution.id,
            )
            await idempotency.claim(session, caller, key, digest, execution_id)
            before = execution.status
            await self._make_ready(session, execution)
            detailed(old={"status": before}, new={"status": execution.status, "retry_count": execution.retry_count})
            admitted = await admit(session, caller.tenant_id)
        await launch_admitted(self._process, execution, admitted)
        return views.execution_summary(execution, usage)

    @staticmethod
    async def _make_ready(session: AsyncSession, execution: Execution) -> None:
        """The rows as they were before anything went wrong. What was asked in vain is asked again."""
        tenant_id, approvals = execution.tenant_id, ApprovalRepository(session, execution.tenant_id)
        for agent in await ExecutionRepository(session, tenant_id).agents(execution.id, execution.lineage):
            if agent.status in _BROKEN_OFF:
                agent.status, agent.failures, agent.error, agent.completed_at = "pending", 0, None, None
                session.add(agent)
                await questions.reopen(session, tenant_id, execution.id, agent.lineage, agent.step_index)
        await approvals.set_aside(execution.id, execution.lineage)
        await FailureRepository(session, tenant_id).take_up(execution.id)
        queue_again(execution)
        execution.error_message, execution.completed_at, execution.reason = None, None, None
        execution.retry_count += 1
        execution.updated_at = now()
        session.add(execution)
        session.add(
            ExecutionEvent(
                tenant_id=tenant_id,
                execution_id=execution.id,
                event_type="execution.retried",
                data={"retry_count": execution.retry_count},
            )
        )
