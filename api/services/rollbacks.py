"""Rollbacks: what one would do, and having it done, also for executions whose run has ended."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from activities.edits import read_edits
from activities.rollback_plan import RollbackPlan, plan_rollback
from activities.sources import continue_from, read_source
from api.auth.principal import Principal
from api.schemas.checkpoints import DryRun, RollbackAnswer, RollbackRequest
from api.schemas.common import credits_of, json_problems
from api.services import commands, idempotency, views
from api.services.auditing import detailed
from api.services.launching import launch_now, start_for
from api.services.lineage import rollback_view
from api.services.steering import ENDED
from api.wiring import Wiring
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.journal import JournalRepository
from models.repositories.queue import is_waiting
from models.repositories.rollbacks import RollbackRepository
from models.repositories.targets import TargetRepository
from models.tables import Execution, Rollback
from models.wire_commands import CommandResult, RollbackCommand
from omium_core.errors import InvalidInput, Problem, RollbackBlocked, RollbackFailed, Unavailable

#: How often a command is tried while a run is being started or is just closing.
_TRIES = 5
#: Seconds after the second of them; grows by as much with each.
_PAUSE = 0.1


class RollbackService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def plan(self, caller: Principal, checkpoint_id: UUID, edits: dict[str, Any]) -> DryRun:
        """What a rollback would do, and whether its edits fit. Changes nothing."""
        execution = await self._execution_of(caller, checkpoint_id)
        await check_edits(self._process, execution, str(checkpoint_id), edits)
        return DryRun(plan=plan_json(await self._plan(execution, str(checkpoint_id))))

    async def roll_back(
        self, caller: Principal, checkpoint_id: UUID, wanted: RollbackRequest, key: str | None = None
    ) -> RollbackAnswer:
        execution = await self._execution_of(caller, checkpoint_id)
        digest = idempotency.request_hash("rollback", checkpoint_id, wanted.model_dump(exclude={"dry_run"}))
        command_id = idempotency.command_id("rollback", key)
        repeated = await idempotency.is_repeated(self._process.database, caller, key, digest, execution.id)
        if repeated and (done := await self._find(execution, command_id)) and done.status != "in_progress":
            return await self._answer(execution, done, requested=False)
        command = RollbackCommand(
            id=command_id,
            checkpoint_id=str(checkpoint_id),
            reason=wanted.reason,
            trigger_type=wanted.trigger_type,
            resume=wanted.resume,
            confirm=wanted.confirm,
            actor=caller.name,
            user_id=str(caller.user_id or ""),
        )
        detailed(
            old={"status": execution.status, "checkpoint": execution.current_checkpoint, "lineage": execution.lineage},
            new={"execution_id": execution.id, "checkpoint_id": checkpoint_id, "edited": sorted(wanted.edits)},
        )
        rollback, requested = await self.carry_out(caller, execution, command, wanted.edits, repeated=repeated)
        return await self._answer(execution, rollback, requested=requested)

    async def carry_out(
        self,
        caller: Principal,
        execution: Execution,
        command: RollbackCommand,
        edits: dict[str, Any],
        *,
        path: str = "edits",
        repeated: bool = False,
    ) -> tuple[Rollback | None, bool]:
        """Has a rollback done, to whatever the command calls a checkpoint. Its row, and whether it is still under way.

        `path` is where the edits stand in the request. Raises `RollbackBlocked` with the plan, `RollbackFailed`.
        """
        reference = command.checkpoint_id or command.checkpoint
        await check_edits(self._process, execution, reference, edits, path)
        plan = await self._plan(execution, reference)
        if plan.blocked and not command.confirm and not repeated:
            raise _blocked(plan.reason, plan)
        # prompts and values are users' texts: the history of the run only holds where they lie
        command.edits_blob = await self._store(caller, edits)
        result = await self._send(execution, command)
        if result is not None and result.error:
            if result.code == RollbackBlocked.code:
                raise _blocked(result.error, await self._plan(execution, reference))
            raise commands.refusal(result.code or RollbackFailed.code, result.error, execution_id=str(execution.id))
        rollback = await self._find(execution, command.id)
        return rollback, result is None or rollback is None or rollback.status == "in_progress"

    async def _send(self, execution: Execution, command: RollbackCommand) -> CommandResult | None:
        for attempt in range(_TRIES):
            try:
                if execution.status in ENDED:
                    start = await start_for(self._process, execution, command.id)
                    return await commands.send_with_start(self._process, execution, "rollback", command, start)
                return await commands.send(self._process, execution, "rollback", command)
            except (commands.NoRun, RollbackFailed) as refused:
                # the run ended in this moment, or is just closing: then another one is opened for the command
                await asyncio.sleep(_PAUSE * attempt)
                before = execution.status
                async with self._process.database.transaction(execution.tenant_id) as session:
                    execution = await ExecutionRepository(session, execution.tenant_id).get(execution.id)
                if is_waiting(execution):
                    raise RollbackFailed(
                        "The execution waits for its turn to run; cancel it, then roll back.",
                        execution_id=str(execution.id),
                    ) from None
                if execution.status == "pending":
                    await launch_now(self._process, execution)
                elif isinstance(refused, RollbackFailed) and execution.status == before and attempt == _TRIES - 1:
                    raise
        raise Unavailable("The run does not take the command now; try again in a moment.")

    async def _answer(self, execution: Execution, rollback: Rollback | None, *, requested: bool) -> RollbackAnswer:
        async with self._process.database.transaction(execution.tenant_id) as session:
            execution = await ExecutionRepository(session, execution.tenant_id).get(execution.id)
            usage = await JournalRepository(session, execution.tenant_id).usage([execution.id])
        if rollback is not None and rollback.status == "failed":
            raise RollbackFailed(rollback.error or "The rollback failed.", rollback_id=str(rollback.id))
        return RollbackAnswer(
            rollback=await rollback_view(self._process.values, rollback) if rollback is not None else None,
            execution=views.execution_summary(execution, usage.get(execution.id, [])),
            rollback_requested=requested,
            message="The rollback is under way" if requested else "Rollback completed successfully",
        )

    async def _execution_of(self, caller: Principal, checkpoint_id: UUID) -> Execution:
        async with self._process.database.transaction(caller.tenant_id) as session:
            checkpoint = await CheckpointRepository(session, caller.tenant_id).get(checkpoint_id)
            return await ExecutionRepository(session, caller.tenant_id).get(checkpoint.execution_id)

    async def _plan(self, execution: Execution, reference: str) -> RollbackPlan:
        async with self._process.database.transaction(execution.tenant_id) as session:
            return await plan_rollback(session, execution.tenant_id, execution.id, reference)

    async def _find(self, execution: Execution, command_id: str) -> Rollback | None:
        async with self._process.database.transaction(execution.tenant_id) as session:
            return await RollbackRepository(session, execution.tenant_id).find(execution.id, command_id)

    async def _store(self, caller: Principal, edits: dict[str, Any]) -> str:
        return (await self._process.values.put(str(caller.tenant_id), edits)).key if edits else ""


async def check_edits(
    process: Wiring, execution: Execution, reference: str, edits: dict[str, Any], path: str = "edits"
) -> None:
    """Whether edits can be applied at a checkpoint. Raises `InvalidInput` with the paths of what cannot."""
    try:
        if unsafe := json_problems(edits, ""):
            raise InvalidInput("", [Problem(problem.path.lstrip("."), problem.message) for problem in unsafe])
        wanted = read_edits(edits)
        if not wanted:
            return
        async with process.database.transaction(execution.tenant_id) as session:
            target = await TargetRepository(session, execution.tenant_id).find(execution, reference)
            source = await read_source(session, execution, target)
        if source.rows:
            await continue_from(process.values, source, wanted)
    except InvalidInput as error:
        found = [Problem(f"{path}.{p.path}" if p.path else path, p.message) for p in error.problems]
        first = found[0] if found else Problem(path, error.message)
        raise InvalidInput(f"{first.path}: {first.message}", found or [first]) from error


def plan_json(plan: RollbackPlan) -> dict[str, Any]:
    """A plan as the API shows it: costs in credits."""
    shown = plan.to_json()
    for name in ("spent", "again"):
        shown[name] = {**shown[name], "credits": credits_of(shown[name]["cost"])}
        del shown[name]["cost"]
    return shown


def _blocked(reason: str, plan: RollbackPlan) -> RollbackBlocked:
    return RollbackBlocked(
        f"{reason} Roll back with `confirm` to leave it as it is.",
        execution_id=plan.execution_id,
        plan=plan_json(plan),
    )
