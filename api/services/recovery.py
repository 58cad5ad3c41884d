"""Recovery by hand: does about a failure what a person asks for, once per Idempotency-Key, and writes it down.

The action's row is committed before anything is done. What is then done carries an id made from the row's, so that a
request that is sent again after a crash finds what the first one did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from api.auth.principal import Principal
from api.schemas.recovery import RecoverAnswer, RecoverRequest, RecoveryActionView
from api.schemas.steering import PauseRequest
from api.services import idempotency, views
from api.services.auditing import detailed
from api.services.recovery_names import edited_before, with_names
from api.services.recovery_wishes import Wanted, read_wanted
from api.services.retries import RetryService
from api.services.rollbacks import RollbackService
from api.services.steering import SteeringService
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.executions import ExecutionRepository
from models.repositories.failures import FailureRepository
from models.repositories.journal import JournalRepository
from models.repositories.recovery import RecoveryRepository
from models.repositories.targets import LAST, START
from models.tables import Execution, ExecutionEvent, Failure, RecoveryAction
from models.tables.base import now
from models.wire_commands import RollbackCommand
from omium_core.errors import (
    Conflict,
    ExecutionCannotPause,
    ExecutionCannotRetry,
    InvalidInput,
    OmiumError,
    Problem,
    RollbackFailed,
)

WAITING = ("manual_intervention", "escalate")
#: Statuses of a run that a retry starts anew, and of one that it lets go on.
_ENDED, _STANDING = ("failed", "cancelled"), ("paused", "rolled_back")
_REASON_LENGTH = 255


@dataclass(frozen=True)
class _Begun:
    """An action whose row is there. `again` says that an earlier request made it."""

    row: RecoveryAction
    again: bool


class RecoveryService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._retries = RetryService(process)
        self._steering = SteeringService(process)
        self._rollbacks = RollbackService(process)

    async def get(self, caller: Principal, action_id: UUID) -> RecoveryAction:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await RecoveryRepository(session, caller.tenant_id).get(action_id)

    async def list(self, caller: Principal, page: Page, **filters: Any) -> Listing[RecoveryAction]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await RecoveryRepository(session, caller.tenant_id).list(page, **filters)

    async def of_execution(self, caller: Principal, execution_id: UUID, page: Page) -> Listing[RecoveryAction]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            return await RecoveryRepository(session, caller.tenant_id).list(page, execution_id=execution_id)

    async def recover(
        self, caller: Principal, failure_id: UUID, body: RecoverRequest, key: str | None = None
    ) -> RecoverAnswer:
        """Raises `InvalidInput` below `action_config`, and a `Conflict` where the run's state does not let it be done."""
        wanted = read_wanted(body.action_type, body.action_config)
        async with self._process.database.transaction(caller.tenant_id) as session:
            failure = await FailureRepository(session, caller.tenant_id).get(failure_id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(failure.execution_id)
        digest = idempotency.request_hash("recover", failure_id, body.model_dump())
        command_id = idempotency.command_id("recover", key)
        repeated = await idempotency.is_repeated(self._process.database, caller, key, digest, execution.id)
        known = await self._known(execution, command_id) if repeated else None
        if known is not None and known.status == "completed":
            return await self._answer(execution, known)
        if known is None or known.status == "failed":
            _check_state(wanted, failure, execution)
        wanted = await with_names(self._process, failure, execution, wanted)
        begun = await self._begin(caller, failure, execution, body, wanted, command_id)
        try:
            finished = await self._carry_out(caller, failure, execution, wanted, begun)
        except OmiumError as error:
            await self._failed(begun.row, failure, error)
            raise
        detailed(
            old={"recovery_status": failure.recovery_status, "status": execution.status},
            new={"execution_id": execution.id, "recovery_action_id": begun.row.id, "action_type": body.action_type},
        )
        return await self._done(caller, failure, begun.row, wanted, finished=finished)

    async def _carry_out(
        self, caller: Principal, failure: Failure, execution: Execution, wanted: Wanted, begun: _Begun
    ) -> bool:
        """Whether it is done; else it is under way."""
        action, key = wanted.action, f"recover:{begun.row.id}"
        if action.type == "escalate":
            return True
        if action.type == "manual_intervention":
            if execution.status in ("pending", "running"):
                await self._pause(caller, execution, wanted, key)
            return True
        if begun.row.meta.get("how") == "retry":
            await self._retries.retry(caller, execution.id, key)
            return True
        if begun.row.meta.get("how") == "resume":
            await self._steering.resume(caller, execution.id, key)
            return True
        return await self._roll_back(caller, failure, execution, wanted, begun)

    async def _pause(self, caller: Principal, execution: Execution, wanted: Wanted, key: str) -> None:
        try:
            await self._steering.pause(caller, execution.id, PauseRequest(reason=wanted.note), key)
        except ExecutionCannotPause:
            # it ended meanwhile, or stands still already: it waits for the person all the same
            return

    async def _roll_back(
        self, caller: Principal, failure: Failure, execution: Execution, wanted: Wanted, begun: _Begun
    ) -> bool:
        action = wanted.action
        to = wanted.to or await self._before(failure, execution, wanted)
        edits: dict[str, Any] = {"models": action.models} if action.models else {}
        if action.prompts:
            edits["append_prompts" if action.append else "prompts"] = action.prompts
        command = RollbackCommand(
            id=begun.row.command_id,
            checkpoint=f"{to}-{action.steps_back}" if action.steps_back else to,
            reason=(wanted.note or f"Recovery of the failure {failure.failure_type}")[:_REASON_LENGTH],
            resume=action.resume,
            confirm=wanted.confirm,
            actor=caller.name,
            user_id=str(caller.user_id or ""),
        )
        try:
            rollback, under_way = await self._rollbacks.carry_out(
                caller, execution, command, edits, path="action_config", repeated=begun.again
            )
        except InvalidInput as error:
            # one field of ours stands for two of theirs
            told = [Problem(p.path.replace(".append_prompts", ".prompts"), p.message) for p in error.problems]
            raise InvalidInput(error.message.replace(".append_prompts", ".prompts"), told) from error
        if rollback is not None and rollback.status == "failed":
            raise RollbackFailed(rollback.error or "The rollback failed.", rollback_id=str(rollback.id))
        return not under_way

    async def _before(self, failure: Failure, execution: Execution, wanted: Wanted) -> str:
        """The last checkpoint before a failure, or before an earlier step that is to be done otherwise."""
        async with self._process.database.transaction(execution.tenant_id) as session:
            recovery = RecoveryRepository(session, failure.tenant_id)
            steps = await ExecutionRepository(session, failure.tenant_id).agents(execution.id, failure.lineage)
            earlier = edited_before(wanted, failure, steps)
            if earlier is not None:
                found = await recovery.checkpoint_before(failure.execution_id, failure.lineage, earlier)
                return START if found is None else str(found.id)
            of_step = (failure.execution_id, failure.lineage, failure.step_index or 0)
            stands_there = failure.lineage == execution.lineage
            if stands_there and (failure.step_index is None or not await recovery.is_done(*of_step)):
                # what other branches of a flow did meanwhile is kept
                return LAST
            if failure.checkpoint_id is not None:
                return str(failure.checkpoint_id)
            found = await recovery.checkpoint_before(*of_step)
        return START if found is None else str(found.id)

    # The action's row

    async def _begin(
        self,
        caller: Principal,
        failure: Failure,
        execution: Execution,
        body: RecoverRequest,
        wanted: Wanted,
        command_id: str,
    ) -> _Begun:
        """Writes the action down, or finds it. One that failed is begun again."""
        how = _how(wanted, execution)
        row = RecoveryAction(
            tenant_id=caller.tenant_id,
            failure_id=failure.id,
            execution_id=execution.id,
            command_id=command_id,
            action_type=_recorded_type(wanted),
            action_config=body.action_config,
            triggered_by=caller.user_id,
            trigger_type="manual",
            status="in_progress",
            started_at=now(),
            meta={"by": caller.name, "before": failure.recovery_status, "how": how},
        )
        try:
            async with self._process.database.transaction(caller.tenant_id) as session:
                session.add(row)
                found = await FailureRepository(session, caller.tenant_id).get(failure.id, lock=True)
                found.recovery_action = row.action_type
                if wanted.action.type not in WAITING:
                    found.recovery_status, found.resolved_at = "in_progress", None
                session.add(found)
            return _Begun(row, again=False)
        except IntegrityError:
            known = await self._known(execution, command_id)
            if known is None:
                raise
        if known.status == "failed":
            async with self._process.database.transaction(caller.tenant_id) as session:
                known.status, known.success, known.error, known.completed_at = "in_progress", None, None, None
                known.meta = {**known.meta, "how": how}
                session.add(known)
        return _Begun(known, again=True)

    async def _known(self, execution: Execution, command_id: str) -> RecoveryAction | None:
        async with self._process.database.transaction(execution.tenant_id) as session:
            return await RecoveryRepository(session, execution.tenant_id).find(execution.id, command_id)

    async def _failed(self, row: RecoveryAction, failure: Failure, error: OmiumError) -> None:
        async with self._process.database.transaction(row.tenant_id) as session:
            await RecoveryRepository(session, row.tenant_id).settle(row.execution_id, row.command_id, error.message)
            found = await FailureRepository(session, row.tenant_id).get(failure.id, lock=True)
            if found.recovery_status == "in_progress":
                found.recovery_status = row.meta["before"]
                session.add(found)

    async def _done(
        self, caller: Principal, failure: Failure, row: RecoveryAction, wanted: Wanted, *, finished: bool
    ) -> RecoverAnswer:
        async with self._process.database.transaction(caller.tenant_id) as session:
            recovery = RecoveryRepository(session, caller.tenant_id)
            if finished:
                await recovery.settle(row.execution_id, row.command_id)
            if wanted.action.type in WAITING:
                found = await FailureRepository(session, caller.tenant_id).get(failure.id, lock=True)
                found.recovery_status = "escalated"
                session.add(found)
                session.add(_escalated(caller, found, row, wanted))
        async with self._process.database.transaction(caller.tenant_id) as session:
            row = await RecoveryRepository(session, caller.tenant_id).get(row.id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(row.execution_id)
        return await self._answer(execution, row)

    async def _answer(self, execution: Execution, row: RecoveryAction) -> RecoverAnswer:
        async with self._process.database.transaction(execution.tenant_id) as session:
            usage = await JournalRepository(session, execution.tenant_id).usage([execution.id])
        return RecoverAnswer(
            recovery_action=view(row),
            execution=views.execution_summary(execution, usage.get(execution.id, [])),
            message=_message(row, execution),
        )


def view(row: RecoveryAction) -> RecoveryActionView:
    return RecoveryActionView(**row.model_dump(exclude={"meta"}), metadata=row.meta)


def _check_state(wanted: Wanted, failure: Failure, execution: Execution) -> None:
    """Refuses what the run's state plainly does not allow; the run itself may refuse more."""
    details = {"execution_id": str(execution.id), "status": execution.status}
    if wanted.action.type in WAITING and failure.recovery_status == "resolved":
        raise Conflict("The failure is resolved already.", failure_id=str(failure.id))
    if _is_plain_retry(wanted) and execution.status not in (*_ENDED, *_STANDING):
        raise ExecutionCannotRetry(
            f"Only an execution that failed, was cancelled or stands still can be retried; this one is {execution.status}.",
            **details,
        )
    if execution.status == "paused" and _is_plain_retry(wanted) and execution.reason not in ("recovery", "operator"):
        raise ExecutionCannotRetry(f"The execution waits for {execution.reason or 'something else'}.", **details)


def _is_plain_retry(wanted: Wanted) -> bool:
    return wanted.action.type in ("retry", "retry_failed_part") and not wanted.action.redo


def _recorded_type(wanted: Wanted) -> str:
    return "retry" if wanted.action.type == "retry_failed_part" else wanted.action.type


def _how(wanted: Wanted, execution: Execution) -> str:
    """By what an action is done. Kept with it, for the run's status is another one afterwards."""
    if wanted.action.type in WAITING:
        return "person"
    if not _is_plain_retry(wanted):
        return "rollback"
    return "retry" if execution.status in _ENDED else "resume"


def _escalated(caller: Principal, failure: Failure, row: RecoveryAction, wanted: Wanted) -> ExecutionEvent:
    data = {
        "failure_id": str(failure.id),
        "failure_type": failure.failure_type,
        "action": row.action_type,
        "assignee": wanted.assignee,
        "note": wanted.note,
        "by": caller.name,
    }
    return ExecutionEvent(
        tenant_id=failure.tenant_id,
        execution_id=failure.execution_id,
        event_type="failure.escalated",
        data={name: value for name, value in data.items() if value},
    )


def _message(row: RecoveryAction, execution: Execution) -> str:
    if row.status == "in_progress":
        return "The recovery action is under way"
    if row.action_type == "escalate":
        return "Recovery action applied, failure escalated"
    if row.action_type == "manual_intervention":
        return f"Recovery action applied, a person takes over; the execution is {execution.status}"
    if execution.status == "rolled_back":
        return "Recovery action applied, execution rolled back and waiting to be resumed"
    return "Recovery action applied, execution retrying from checkpoint"
