"""Approvals: what runs ask people, and their answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from activities.stores.values import Stored
from api.auth.principal import Principal
from api.schemas.approvals import ApprovalAnswer, ApprovalView
from api.schemas.common import json_problems
from api.services import commands, idempotency, views
from api.services.auditing import detailed
from api.wiring import Wiring
from models.repositories.approvals import ApprovalRepository
from models.repositories.base import Listing, Page
from models.repositories.executions import ExecutionRepository
from models.repositories.journal import JournalRepository
from models.tables import Approval
from models.wire_commands import ApproveCommand, CommandResult
from omium_core.errors import ApprovalAlreadyAnswered, ApprovalNotFound, InvalidInput, Problem, Unavailable

_STATUS_AFTER = {"approve": "approved", "reject": "rejected", "edit": "edited"}
_WHY_CLOSED = {
    "expired": "Its deadline has passed and the default was taken.",
    "cancelled": "The run ended, or was rolled back behind it.",
}

#: Seconds between two tries to answer a run that does not know its own question yet.
_PAUSE = 0.1


class _NotKnownYet(Unavailable):
    """A question can be read a moment before the step that asked has told its run, and longer if its worker died then."""


class ApprovalService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, approval_id: UUID) -> ApprovalView:
        return await self._view(await self._row(caller, approval_id))

    async def list(self, caller: Principal, page: Page, **filters: Any) -> tuple[Listing[Approval], list[ApprovalView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            if filters.get("execution_id") is not None:
                await ExecutionRepository(session, caller.tenant_id).get(filters["execution_id"])
            found = await ApprovalRepository(session, caller.tenant_id).list(page, **filters)
        return found, [await self._view(row) for row in found.rows]

    async def answer(
        self,
        caller: Principal,
        approval_id: UUID,
        decision: str,
        *,
        value: Any = None,
        comment: str = "",
        key: str | None = None,
    ) -> ApprovalAnswer:
        """Answers an open question. The same answer again is the same; another one is `ApprovalAlreadyAnswered`."""
        problems = json_problems(value, "value")
        if decision == "edit" and value is None:
            problems.append(Problem("value", "is required: what the run goes on with"))
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        approval = await self._row(caller, approval_id)
        digest = idempotency.request_hash("answer", approval_id, decision, value)
        await idempotency.is_repeated(self._process.database, caller, key, digest, approval.execution_id)
        if approval.status != "pending":
            return await self._answered_before(caller, approval, decision, value)
        detailed(
            old={"status": approval.status},
            new={"decision": decision, "execution_id": approval.execution_id, "step": approval.step_name},
        )
        result: CommandResult | None
        try:
            result = await self._send(caller, approval, decision, value, comment)
        except (commands.NoRun, ApprovalNotFound, ApprovalAlreadyAnswered) as refused:
            # somebody else was quicker, or the run went elsewhere
            approval = await self._row(caller, approval_id)
            if approval.status != "pending":
                return await self._answered_before(caller, approval, decision, value)
            if not isinstance(refused, commands.NoRun):
                raise
            raise ApprovalAlreadyAnswered(
                "The execution does not wait for an answer.", approval_id=str(approval_id)
            ) from None
        return await self._answer(caller, approval_id, decision, result)

    async def _send(
        self, caller: Principal, approval: Approval, decision: str, value: Any, comment: str
    ) -> CommandResult | None:
        tenant = str(caller.tenant_id)
        # a value is a user's text: the history of the run only holds where it lies
        blob = "" if value is None else (await self._process.values.put(tenant, value)).key
        async with self._process.database.transaction(caller.tenant_id) as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(approval.execution_id)
        command = ApproveCommand(
            # the same answer is the same command, whoever sends it how often
            id=f"answer-{approval.id}-{idempotency.request_hash(decision, value)[:16]}",
            approval_id=str(approval.id),
            decision=decision,
            value_blob=blob,
            comment=comment,
            actor=caller.name,
        )
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(_NotKnownYet),
            wait=wait_fixed(_PAUSE),
            stop=stop_after_delay(commands.PATIENCE),
            reraise=True,
        ):
            with attempt:
                try:
                    return await commands.send(self._process, execution, "approve", command)
                except ApprovalNotFound as refused:
                    if (await self._row(caller, approval.id)).status != "pending":
                        raise
                    raise _NotKnownYet(
                        "The run does not know yet what it asked; try again in a moment.", approval_id=str(approval.id)
                    ) from refused
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _answered_before(
        self, caller: Principal, approval: Approval, decision: str, value: Any
    ) -> ApprovalAnswer:
        given = await self._process.values.read(str(caller.tenant_id), Stored(approval.answer, approval.answer_blob))
        if approval.status == _STATUS_AFTER[decision] and given == value:
            return await self._answer(caller, approval.id, decision, CommandResult())
        raise ApprovalAlreadyAnswered(
            f"The approval is {approval.status} already. {_WHY_CLOSED.get(approval.status, '')}".rstrip(),
            approval_id=str(approval.id),
            status=approval.status,
        )

    async def _answer(
        self, caller: Principal, approval_id: UUID, decision: str, result: CommandResult | None
    ) -> ApprovalAnswer:
        async with self._process.database.transaction(caller.tenant_id) as session:
            approval = await ApprovalRepository(session, caller.tenant_id).get(approval_id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(approval.execution_id)
            usage = await JournalRepository(session, caller.tenant_id).usage([execution.id])
        message = f"Approval {_STATUS_AFTER[decision]} successfully"
        if result is None:
            message = "The answer is on its way to the run"
        return ApprovalAnswer(
            approval=await self._view(approval),
            execution=views.execution_summary(execution, usage.get(execution.id, [])),
            answer_requested=result is None,
            message=message,
        )

    async def _row(self, caller: Principal, approval_id: UUID) -> Approval:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await ApprovalRepository(session, caller.tenant_id).get(approval_id)

    async def _view(self, row: Approval) -> ApprovalView:
        tenant = str(row.tenant_id)
        question = await self._process.values.read(tenant, Stored(row.question, row.question_blob))
        answer = await self._process.values.read(tenant, Stored(row.answer, row.answer_blob))
        return ApprovalView(**{**row.model_dump(), "question": question, "answer": answer})
