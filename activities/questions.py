"""Questions of a step to people: written down when the step asks, read when it runs again, answered by whoever is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Final, cast
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity

from activities.adapters.base import Answer, StaleAttempt
from activities.audit_notes import note_steering
from activities.contracts.evaluation import ApprovalWish
from activities.heartbeat import heartbeat
from activities.stores.values import Stored, ValueStore
from models.database import Database
from models.repositories.approvals import id_set_aside, not_set_aside
from models.repositories.steps import NAME_LENGTH
from models.tables import Agent, Approval, ExecutionEvent
from models.tables.base import new_id, now
from models.wire import AnswerInput, Question, StepInput

STATUS: Final[Mapping[str, str]] = {"approve": "approved", "reject": "rejected", "edit": "edited"}
_DECISION: Final[Mapping[str, str]] = {status: decision for decision, status in STATUS.items()}
#: How much of a long id of a question is kept as it is; the rest is told apart by a hash.
_READABLE: Final = 190


class Answers(Mapping[str, Answer]):
    """Answers by the ids of their questions, which are looked up as they were kept."""

    def __init__(self, kept: Mapping[str, Answer]) -> None:
        self._kept = kept

    def __getitem__(self, interrupt_id: str) -> Answer:
        return self._kept[kept_id(interrupt_id)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def kept_id(interrupt_id: str) -> str:
    """The id under which a question is kept: its own, or its beginning with a hash where there is no room for it."""
    if len(interrupt_id) <= NAME_LENGTH:
        return interrupt_id
    return f"{interrupt_id[:_READABLE]}~{sha256(interrupt_id.encode(errors='replace')).hexdigest()[:32]}"


class Questions:
    """Reads and writes approvals. Belongs to one event loop."""

    def __init__(self, database: Database, values: ValueStore) -> None:
        self._database = database
        self._values = values

    async def answers(self, step: StepInput) -> Mapping[str, Answer]:
        """What people, or defaults, said to the questions of this step, by the question's id within the step."""

        async def work(db: AsyncSession) -> list[Approval]:
            query = select(Approval).where(
                *_of_step(step), col(Approval.status).not_in(("pending", "cancelled")), not_set_aside()
            )
            return list((await db.execute(query)).scalars())

        found = await self._database.run(UUID(step.tenant_id), work)
        return Answers({row.interrupt_id: await self._answer(row) for row in found})

    async def ask(self, step: StepInput, attempt: int, wishes: Sequence[ApprovalWish]) -> list[Question]:
        """Writes the questions down, each once however often the step asks. The ones that are still open."""
        rows = [await self._row(step, wish) for wish in wishes]

        async def work(db: AsyncSession) -> list[Question]:
            await mark_waiting(db, step, attempt)
            for row in rows:
                statement = (
                    insert(Approval).values(row.model_dump()).on_conflict_do_nothing().returning(col(Approval.id))
                )
                if (await db.execute(statement)).scalar_one_or_none() is not None:
                    data = {"approval_id": str(row.id), "step": step.step.index, "name": step.step.name}
                    await add_event(db, step, "approval.requested", {**data, "assignee": row.assignee})
            asked = [row.interrupt_id for row in rows]
            query = select(Approval).where(
                *_of_step(step), col(Approval.status) == "pending", col(Approval.interrupt_id).in_(asked)
            )
            still_open: Sequence[Approval] = (await db.execute(query)).scalars().all()
            return [_question(question) for question in still_open]

        return await self._database.run(UUID(step.tenant_id), work)

    @activity.defn(name="record_answer")
    async def record(self, answer: AnswerInput) -> bool:
        """Writes an answer down; False when the question was answered before. What came first stands."""
        value = Stored(blob=answer.value_blob)
        if not answer.value_blob and answer.value is not None:
            value = await self._values.keep(answer.tenant_id, answer.value)

        async def work(db: AsyncSession) -> bool:
            row = (
                await db.execute(
                    select(Approval)
                    .where(
                        col(Approval.tenant_id) == UUID(answer.tenant_id),
                        col(Approval.execution_id) == UUID(answer.execution_id),
                        col(Approval.id) == UUID(answer.approval_id),
                    )
                    .with_for_update()
                )
            ).scalar_one_or_none()
            if row is None or row.status != "pending":
                return False
            row.status = "expired" if answer.expired else STATUS[answer.decision]
            row.answer, row.answer_blob = value.inline, value.blob or None
            row.answered_by, row.comment = answer.actor or None, answer.comment or None
            row.answered_at = now()
            db.add(row)
            data = {"approval_id": answer.approval_id, "decision": answer.decision, "expired": answer.expired}
            await add_event(db, answer, "approval.answered", {**data, "by": answer.actor})
            if not answer.expired:
                await note_steering(
                    db,
                    answer.tenant_id,
                    answer.execution_id,
                    "approval.answer",
                    answer.actor,
                    resource=("approval", row.id),
                    new={"decision": answer.decision},
                )
            return True

        async with heartbeat():
            return await self._database.run(UUID(answer.tenant_id), work, patience=600)

    async def _answer(self, row: Approval) -> Answer:
        if row.status == "expired":
            return Answer(cast("str", row.default_decision), row.default_value)  # type: ignore[arg-type]
        value = await self._values.read(str(row.tenant_id), Stored(row.answer, row.answer_blob))
        if value is None and row.status == "rejected":
            value = row.comment
        return Answer(_DECISION[row.status], value)  # type: ignore[arg-type]

    async def _row(self, step: StepInput, wish: ApprovalWish) -> Approval:
        question = await self._values.keep(step.tenant_id, wish.question)
        return Approval(
            tenant_id=UUID(step.tenant_id),
            execution_id=UUID(step.execution_id),
            lineage=step.lineage,
            step_index=step.step.index,
            step_name=step.step.name[:NAME_LENGTH],
            interrupt_id=kept_id(wish.interrupt_id),
            title=wish.title,
            question=question.inline,
            question_blob=question.blob,
            assignee=wish.assignee,
            deadline=None if wish.timeout is None else now() + timedelta(seconds=wish.timeout),
            default_decision=wish.on_timeout,
            default_value=wish.default_value,
        )


async def reopen(db: AsyncSession, tenant_id: UUID, execution_id: UUID, lineage: int, step_index: int) -> None:
    """A step that is tried again asks again what was refused; what was agreed to stays so."""
    await db.execute(
        update(Approval)
        .where(
            col(Approval.tenant_id) == tenant_id,
            col(Approval.execution_id) == execution_id,
            col(Approval.lineage) == lineage,
            col(Approval.step_index) == step_index,
            col(Approval.status).in_(("rejected", "expired")),
            not_set_aside(),
        )
        # the row stays for those who ask who refused it
        .values(interrupt_id=id_set_aside())
    )


async def mark_waiting(db: AsyncSession, step: StepInput, attempt: int, status: str = "waiting") -> None:
    """The step's row says that it waits (or was `skipped`). `StaleAttempt` if a newer attempt runs."""
    statement = (
        update(Agent)
        .where(
            col(Agent.tenant_id) == UUID(step.tenant_id),
            col(Agent.execution_id) == UUID(step.execution_id),
            col(Agent.lineage) == step.lineage,
            col(Agent.step_index) == step.step.index,
            col(Agent.attempt) == attempt,
            col(Agent.status).in_(("running", status)),
        )
        .values(status=status)
        .returning(col(Agent.id))
    )
    if (await db.execute(statement)).scalar_one_or_none() is None:
        raise StaleAttempt(f"Attempt {attempt} of step {step.step.index} is over: a newer one is running.")


async def add_event(db: AsyncSession, of: StepInput | AnswerInput, event_type: str, data: dict[str, object]) -> None:
    event = ExecutionEvent(
        id=new_id(), tenant_id=UUID(of.tenant_id), execution_id=UUID(of.execution_id), event_type=event_type, data=data
    )
    await db.execute(insert(ExecutionEvent).values(event.model_dump()))


def _of_step(step: StepInput) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Approval.tenant_id) == UUID(step.tenant_id),
        col(Approval.execution_id) == UUID(step.execution_id),
        col(Approval.lineage) == step.lineage,
        col(Approval.step_index) == step.step.index,
    )


def _question(row: Approval) -> Question:
    return Question(
        approval_id=str(row.id),
        interrupt_id=row.interrupt_id,
        deadline=row.deadline.timestamp() if row.deadline is not None else 0.0,
        on_timeout=row.default_decision or "",
    )
