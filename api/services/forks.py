"""Forks: exactly one new execution per wish, from a checkpoint of another one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities import forks
from activities.edits import read_edits
from activities.starting import add_budget
from api.auth.principal import Principal
from api.limits.sizes import check_input_size
from api.schemas.common import json_problems
from api.schemas.executions import ExecutionSummary
from api.schemas.steering import ForkRequest
from api.services import idempotency, views
from api.services.auditing import detailed
from api.services.budgets import micro_of
from api.services.launching import launch_admitted
from api.wiring import Wiring
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.journal import JournalRepository
from models.repositories.queue import admit
from models.repositories.starts import Paying, check_start
from models.tables import Execution
from omium_core.errors import CheckpointNotFound, InvalidInput, Problem


class ForkService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def fork(
        self, caller: Principal, execution_id: UUID, wanted: ForkRequest, key: str | None = None
    ) -> ExecutionSummary:
        """The new execution, or the one that the same Idempotency-Key already made. The original stays as it is."""
        problems = [
            problem
            for name in ("edits", "inputs", "metadata")
            for problem in json_problems(getattr(wanted, name), name)
        ]
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        check_input_size(self._process.settings, wanted.inputs)
        # as it was before there were budgets, for requests without one
        asked = wanted.model_dump(exclude={"budget"} if wanted.budget is None else None)
        digest = idempotency.request_hash("fork", execution_id, asked)
        database = self._process.database
        try:
            async with database.transaction(caller.tenant_id) as session:
                made = await self._earlier(session, caller, key, digest)
                if made is not None:
                    return await self._shown(made)
                await self._process.limits.check_checkpoints(session, caller.tenant_id)
                made = await self._make(session, caller, execution_id, wanted)
                await idempotency.claim(session, caller, key, digest, made.id)
                admitted = await admit(session, caller.tenant_id)
        except idempotency.KeyTaken:
            async with database.transaction(caller.tenant_id) as session:
                made = await self._earlier(session, caller, key, digest)
            if made is None:
                raise
            return await self._shown(made)
        # the entry is about the source; this is what came of it
        detailed(new={"execution_id": made.id, "checkpoint_id": wanted.checkpoint_id, "edited": sorted(wanted.edits)})
        if made.status == "pending":
            await launch_admitted(self._process, made, admitted)
        return await self._shown(made)

    async def _make(
        self, session: AsyncSession, caller: Principal, execution_id: UUID, wanted: ForkRequest
    ) -> Execution:
        source = await ExecutionRepository(session, caller.tenant_id).get(execution_id)
        checkpoint = await CheckpointRepository(session, caller.tenant_id).get(wanted.checkpoint_id)
        if checkpoint.execution_id != source.id:
            raise CheckpointNotFound(
                f"Checkpoint {checkpoint.id} is none of this execution.",
                checkpoint_id=str(checkpoint.id),
                execution_id=str(source.id),
            )
        paying = Paying(self._process.settings.enforces_credits, caller.key_id)
        root = source.root_id or source.id
        await check_start(session, caller.tenant_id, paying, workflow_id=source.workflow_id, root_id=root)
        by = forks.By(user_id=caller.user_id, api_key_id=caller.key_id, meta=wanted.metadata or None)
        try:
            edits = read_edits(_with_inputs(wanted))
            made = await forks.fork(session, self._process.values, source, checkpoint, edits=edits, by=by)
        except InvalidInput as error:
            raise _named(error, wanted) from error
        await add_budget(session, made.execution, micro_of(wanted.budget))
        return made.execution

    async def _shown(self, execution: Execution) -> ExecutionSummary:
        async with self._process.database.transaction(execution.tenant_id) as session:
            usage = await JournalRepository(session, execution.tenant_id).usage([execution.id])
        return views.execution_summary(execution, usage.get(execution.id, []))

    @staticmethod
    async def _earlier(session: AsyncSession, caller: Principal, key: str | None, digest: str) -> Execution | None:
        execution_id = await idempotency.earlier(session, caller, key, digest)
        return None if execution_id is None else await ExecutionRepository(session, caller.tenant_id).get(execution_id)


def _with_inputs(wanted: ForkRequest) -> dict[str, Any]:
    """The edits with the request's own inputs laid over theirs."""
    if not wanted.inputs:
        return wanted.edits
    inputs = wanted.edits.get("inputs")
    return {**wanted.edits, "inputs": {**(inputs if isinstance(inputs, dict) else {}), **wanted.inputs}}


def _named(error: InvalidInput, wanted: ForkRequest) -> InvalidInput:
    """The error with paths as the request has them: inputs may have come in either place."""

    def path_of(path: str) -> str:
        field = path.partition(".")[2].partition(".")[0].partition("[")[0]
        is_own = path == "inputs" or (path.startswith("inputs.") and (field in wanted.inputs or not wanted.edits))
        return path if is_own else f"edits.{path}" if path else "edits"

    problems = [Problem(path_of(problem.path), problem.message) for problem in error.problems]
    first = problems[0] if problems else Problem("edits", error.message)
    return InvalidInput(f"{first.path}: {first.message}", problems or [first])
