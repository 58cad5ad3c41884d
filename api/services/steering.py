"""Steers runs: pause, resume, cancel. The row decides what is plainly wrong, the run itself everything else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.run_records import cancel_waiting
from api.auth.principal import Principal
from api.schemas.executions import ExecutionSummary
from api.schemas.steering import (
    CancelAnswer,
    CancelledExecution,
    CancelRequest,
    PauseAnswer,
    PausedExecution,
    PauseRequest,
    ResumeAnswer,
    ResumedExecution,
)
from api.services import commands, idempotency, views
from api.services.auditing import detailed
from api.services.launching import launch_now, start_for
from api.wiring import Wiring
from models.repositories.executions import ExecutionRepository
from models.repositories.journal import JournalRepository
from models.repositories.queue import is_waiting
from models.tables import Execution
from models.tables.base import now
from models.wire_commands import CancelCommand, CommandResult, PauseCommand, ResumeCommand
from omium_core.errors import (
    Conflict,
    ExecutionCannotCancel,
    ExecutionCannotPause,
    ExecutionCannotResume,
    Unavailable,
)

#: Statuses in which no run is there that could hear a command.
ENDED = ("completed", "failed", "cancelled")
#: Why a run is paused that somebody told to stand still.
OPERATOR = "operator"
#: How often a command is tried while the run of a pending row is being started.
_STARTS = 3

#: The error that refuses an action, and what has become of an execution when it worked.
_REFUSALS: dict[str, tuple[type[Conflict], str]] = {
    "pause": (ExecutionCannotPause, "paused"),
    "resume": (ExecutionCannotResume, "resumed"),
    "cancel": (ExecutionCannotCancel, "cancelled"),
}


class SteeringService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def pause(
        self, caller: Principal, execution_id: UUID, wanted: PauseRequest, key: str | None = None
    ) -> PauseAnswer:
        command = PauseCommand(
            id=idempotency.command_id("pause", key), mode=wanted.mode, reason=wanted.reason, actor=caller.name
        )
        digest = idempotency.request_hash("pause", execution_id, wanted.model_dump())
        result = await self._send(caller, execution_id, "pause", command, key, digest)
        if result is not None and result.state in ENDED:
            raise refusal("pause", execution_id, result.state)
        pending = result is None or result.pending
        shown = await self._shown(caller, execution_id, None if pending else result)
        if pending:
            message = "Execution pauses as soon as the step in flight has ended"
        else:
            message = "Execution paused successfully"
            # it may have waited for something else before
            shown = shown.model_copy(update={"reason": OPERATOR, "paused_at": shown.paused_at or now()})
        execution = PausedExecution(**dict(shown), pause_requested=pending)
        return PauseAnswer(execution=execution, pause_requested=pending, message=message)

    async def resume(
        self, caller: Principal, execution_id: UUID, key: str | None = None, digest: str = ""
    ) -> ResumeAnswer:
        """`digest` is what the key stands for, where the request was not simply to resume."""
        command = ResumeCommand(id=idempotency.command_id("resume", key), actor=caller.name)
        digest = digest or idempotency.request_hash("resume", execution_id)
        result = await self._send(caller, execution_id, "resume", command, key, digest)
        shown = await self._shown(caller, execution_id, result)
        message = f"Execution resumed from checkpoint: {shown.current_checkpoint}"
        if shown.current_checkpoint is None:
            message = "Execution resumed from its beginning"
        if result is None:
            message = "Execution resumes as soon as a worker answers"
        execution = ResumedExecution(
            **dict(shown), resumed_at=None if result is None else now(), resume_requested=result is None
        )
        return ResumeAnswer(execution=execution, resume_requested=result is None, message=message)

    async def cancel(
        self, caller: Principal, execution_id: UUID, wanted: CancelRequest, key: str | None = None
    ) -> CancelAnswer:
        command = CancelCommand(id=idempotency.command_id("cancel", key), reason=wanted.reason, actor=caller.name)
        digest = idempotency.request_hash("cancel", execution_id, wanted.model_dump())
        result = await self._send(caller, execution_id, "cancel", command, key, digest)
        if result is not None and result.state in ("completed", "failed"):
            raise refusal("cancel", execution_id, result.state)
        shown = await self._shown(caller, execution_id, result)
        done = shown.status == "cancelled"
        message = "Execution cancelled successfully" if done else "Execution ends as soon as a worker answers"
        execution = CancelledExecution(
            **dict(shown),
            cancelled_at=(shown.completed_at or now()) if done else None,
            cancel_requested=not done,
        )
        return CancelAnswer(execution=execution, cancel_requested=not done, message=message)

    async def _send(
        self, caller: Principal, execution_id: UUID, action: str, command: Any, key: str | None, digest: str
    ) -> CommandResult | None:
        """Sends a command, unless the row says that it cannot be carried out."""
        execution = await self._row(caller, execution_id)
        told = {name: value for name in ("mode", "reason") if (value := getattr(command, name, ""))}
        detailed(old={"status": execution.status}, new={"command_id": command.id, **told})
        repeated = await idempotency.is_repeated(self._process.database, caller, key, digest, execution_id)
        # what a repeated command did is known to the run, also when it has ended since
        if not repeated and execution.status in ENDED:
            raise refusal(action, execution_id, execution.status)
        if is_waiting(execution) and action == "cancel":
            cancelled = await cancel_waiting(self._process.database, caller.tenant_id, execution_id, command.reason)
            if cancelled:
                return CommandResult(state="cancelled")
        for _ in range(_STARTS):
            try:
                return await commands.send(self._process, execution, action, command)
            except commands.NoRun:
                execution = await self._row(caller, execution_id)
                if repeated and execution.status == _REFUSALS[action][1]:
                    return CommandResult(state=execution.status, reason=execution.reason or "")
                if action == "resume" and execution.status == "rolled_back":
                    # its run is gone, but it stands at a checkpoint: it goes on from there
                    start = await start_for(self._process, execution, command.id)
                    return await commands.send_with_start(self._process, execution, action, command, start)
                if execution.status != "pending":
                    raise refusal(action, execution_id, execution.status) from None
                if is_waiting(execution):
                    raise _still_waits(action, execution_id) from None
                await launch_now(self._process, execution)
        raise Unavailable("The run could not be started yet; try again in a moment.")

    async def _row(self, caller: Principal, execution_id: UUID) -> Execution:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await ExecutionRepository(session, caller.tenant_id).get(execution_id)

    async def _shown(self, caller: Principal, execution_id: UUID, result: CommandResult | None) -> ExecutionSummary:
        """The execution as the command left it; it may have gone on since."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            usage = await JournalRepository(session, caller.tenant_id).usage([execution_id])
        return views.execution_summary(execution, usage.get(execution_id, []), result)


def _still_waits(action: str, execution_id: UUID) -> Conflict:
    kind, done = _REFUSALS[action]
    return kind(
        f"An execution that waits for its turn cannot be {done}; it can be cancelled.",
        execution_id=str(execution_id),
        status="pending",
    )


def refusal(action: str, execution_id: UUID, status: str) -> Conflict:
    """Why an execution in this status, without a run that could be asked, does not do what was wanted."""
    kind, done = _REFUSALS[action]
    message = f"An execution that is {status} cannot be {done}."
    if status not in ENDED:
        message = f"The execution is {status}, but Temporal has no open run of it; this is repaired within a minute."
    return kind(message, execution_id=str(execution_id), status=status)
