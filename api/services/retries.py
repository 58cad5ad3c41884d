"""Taking a run up again: one that ended, from its last checkpoint; one that waits for a person after a failure, as it is."""

from __future__ import annotations

from uuid import UUID

from api.auth.principal import Principal
from api.schemas.executions import ExecutionSummary
from api.services.executions import ExecutionService, retry_hash
from api.services.steering import SteeringService
from api.wiring import Wiring
from models.repositories.executions import ExecutionRepository
from omium_core.errors import ExecutionCannotResume, ExecutionCannotRetry

#: Why a run is paused that could not recover by itself.
RECOVERY = "recovery"


class RetryService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def retry(self, caller: Principal, execution_id: UUID, key: str | None = None) -> ExecutionSummary:
        """Raises `ExecutionCannotRetry` for an execution that neither ended badly nor waits for recovery."""
        async with self._process.database.transaction() as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(execution_id)
        if execution.status != "paused" or execution.reason != RECOVERY:
            return await ExecutionService(self._process).retry(caller, execution_id, key)
        try:
            # repeated when it runs already, the key means the same
            digest = retry_hash(execution_id)
            answer = await SteeringService(self._process).resume(caller, execution_id, key, digest)
        except ExecutionCannotResume as error:
            raise ExecutionCannotRetry(error.message, **error.details) from error
        return ExecutionSummary(**{name: getattr(answer.execution, name) for name in ExecutionSummary.model_fields})
