"""The database side of a run: what a worker reads before a step and writes after it.

Each method is one transaction, and repeatable: a worker may die after the commit and before it could say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import Json, JsonObject, StaleAttempt, StepError
from activities.stores.values import Stored
from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.steps import NAME_LENGTH, CompletedStep, MadeBefore, open_attempt, record_completed_step
from models.repositories.workflows import WorkflowRepository
from models.tables import Agent, Checkpoint, Execution, ExecutionEvent, Failure
from models.tables.base import new_id, now
from models.wire import CheckpointRef, FinishInput, Step, StepInput, StepOutcome


@dataclass(frozen=True)
class StepDone:
    """What a step leaves in the database. `outputs` of a run are given once, with its last step."""

    blob: str
    size: int
    unit: Json
    next_step: str | None
    outputs: Json = None
    outputs_blob: str | None = None
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Begun:
    """An attempt that is open: its fence, the run's inputs, and the outcome if there is nothing left to do."""

    attempt: int
    inputs: Stored
    outcome: StepOutcome | None = None


class RunEnded(StepError):
    """The execution has ended: in Temporal a run goes on that should not."""

    failure_type = "run_ended"
    retryable = False


class Records:
    """Reads and writes what a run leaves in PostgreSQL. Belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # a version never changes, so its definition may be kept
        self._definitions: LRUCache[str, JsonObject] = LRUCache(maxsize=256)

    async def definition(self, step: StepInput) -> JsonObject:
        known = self._definitions.get(step.version_id)
        if known is not None:
            return known
        version = await self._database.run(
            lambda db: WorkflowRepository(db, UUID(step.tenant_id)).version_by_id(UUID(step.version_id))
        )
        self._definitions[step.version_id] = version.workflow_definition
        return version.workflow_definition

    async def begin_step(self, step: StepInput) -> Begun:
        """Opens a new attempt; tells the outcome if an earlier attempt already left its checkpoint."""
        key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        opened = await open_attempt(
            self._database, UUID(step.tenant_id), key, name=step.step.name, framework=step.framework
        )
        if opened.attempt is None:
            raise RunEnded("The run has ended: nothing more is done for it.")
        outcome = None if opened.made is None else _outcome(step, opened.made)
        return Begun(opened.attempt, Stored(opened.inputs, opened.inputs_blob), outcome)

    async def complete_step(self, step: StepInput, attempt: int, done: StepDone) -> StepOutcome:
        """Records a step and its checkpoint, all or nothing. `StaleAttempt` if a newer attempt runs."""
        number = step.checkpoint.number + 1
        usage = {"model_calls": done.model_calls, "tool_calls": done.tool_calls, "tokens": done.tokens}
        recorded = await record_completed_step(
            self._database,
            CompletedStep(
                tenant_id=UUID(step.tenant_id),
                execution_id=UUID(step.execution_id),
                lineage=step.lineage,
                step_index=step.step.index,
                step_name=step.step.name,
                attempt=attempt,
                checkpoint_number=number,
                checkpoint_name=_checkpoint_name(number, step.step.name),
                blob=done.blob,
                size=done.size,
                unit=done.unit,
                usage=usage,
                next_step=done.next_step,
                outputs=done.outputs,
                outputs_blob=done.outputs_blob,
            ),
        )
        if recorded.checkpoint_id is None:
            return await self._made_before(step, attempt)
        return StepOutcome(
            checkpoint=CheckpointRef(id=str(recorded.checkpoint_id), number=number, blob=done.blob, size=done.size),
            done=done.next_step is None,
            next_step=None if done.next_step is None else Step(step.step.index + 1, done.next_step),
            prepared=recorded.prepared,
            **usage,
        )

    async def _made_before(self, step: StepInput, attempt: int) -> StepOutcome:
        """The outcome that an earlier attempt, or a commit whose answer was lost, left behind."""

        async def work(db: AsyncSession) -> Checkpoint | None:
            return (await db.execute(select(Checkpoint).where(*_of(Checkpoint, step)))).scalar_one_or_none()

        made = await self._database.run(work)
        if made is None:
            raise StaleAttempt(f"Attempt {attempt} of step {step.step.index} is over: a newer one is running.")
        return _outcome(
            step,
            MadeBefore(
                made.id, made.checkpoint_number, made.checksum, made.state_size_bytes, made.next_step, made.meta
            ),
        )

    async def fail_attempt(self, step: StepInput, attempt: int, failure_type: str, message: str) -> int:
        """Notes that an attempt failed. Returns how often the step has failed, this one included."""

        async def work(db: AsyncSession) -> int:
            statement = (
                update(Agent)
                .where(*_of(Agent, step), col(Agent.attempt) == attempt, col(Agent.status) == "running")
                .values(failures=col(Agent.failures) + 1, error=message)
                .returning(col(Agent.failures))
            )
            failures = (await db.execute(statement)).scalar_one_or_none()
            if failures is None:
                raise StaleAttempt("A newer attempt of the step is running.")
            data = {"step": step.step.index, "name": step.step.name, "failure_type": failure_type, "failures": failures}
            await _event(db, step, "step.failed", data)
            return int(failures)

        return await self._database.run(work)

    async def finish(self, end: FinishInput, suggestion: str, severity: str) -> None:
        """The end of a run that failed or was cancelled. One that ended before, or was taken up since, stays as it is."""

        async def work(db: AsyncSession) -> None:
            is_open = (
                *_execution(end),
                col(Execution.status).in_(("pending", "running", "paused")),
                col(Execution.retry_count) == end.retry,
            )
            agent_error = None
            if end.step is not None:
                query = select(col(Agent.error)).where(*_of(Agent, end), col(Agent.step_index) == end.step.index)
                agent_error = (await db.execute(query)).scalar_one_or_none()
            message = agent_error or end.message
            # steps before their execution, in the order in which the end of a step locks them
            await db.execute(
                update(Agent)
                .where(
                    *_of_lineage(end),
                    col(Agent.status) == "running",
                    select(col(Execution.id)).where(*is_open).exists(),
                )
                .values(status=end.status, completed_at=now())
            )
            ended = (
                update(Execution)
                .where(*is_open)
                .values(
                    status=end.status,
                    completed_at=now(),
                    updated_at=now(),
                    error_message=message if end.status == "failed" else None,
                )
                .returning(col(Execution.id))
            )
            if (await db.execute(ended)).scalar_one_or_none() is None:
                return
            await _event(
                db, end, f"execution.{end.status}", {"failure_type": end.failure_type} if end.failure_type else {}
            )
            if end.status != "failed":
                return
            db.add(
                Failure(
                    tenant_id=UUID(end.tenant_id),
                    execution_id=UUID(end.execution_id),
                    lineage=end.lineage,
                    step_index=end.step.index if end.step else None,
                    step_name=end.step.name[:NAME_LENGTH] if end.step else None,
                    failure_type=end.failure_type,
                    severity=severity,
                    error_message=message,
                    root_cause=end.message,
                    recovery_suggestion=suggestion,
                )
            )

        await self._database.run(work, patience=600)


def _outcome(step: StepInput, made: MadeBefore) -> StepOutcome:
    return StepOutcome(
        checkpoint=CheckpointRef(id=str(made.id), number=made.number, blob=made.blob, size=made.size),
        done=made.next_step is None,
        next_step=None if made.next_step is None else Step(step.step.index + 1, made.next_step),
        model_calls=made.usage.get("model_calls", 0),
        tool_calls=made.usage.get("tool_calls", 0),
        tokens=made.usage.get("tokens", 0),
    )


def _checkpoint_name(number: int, step_name: str) -> str:
    """`step_2_write_report`: what people call the checkpoint by."""
    return f"step_{number}_" + re.sub(r"\W+", "_", step_name.lower()).strip("_")[:200]


def _execution(of: StepInput | FinishInput) -> tuple[Any, ...]:
    return col(Execution.tenant_id) == UUID(of.tenant_id), col(Execution.id) == UUID(of.execution_id)


def _of_lineage(of: StepInput | FinishInput) -> tuple[Any, ...]:
    return (
        col(Agent.tenant_id) == UUID(of.tenant_id),
        col(Agent.execution_id) == UUID(of.execution_id),
        col(Agent.lineage) == of.lineage,
    )


def _of(table: type[Agent] | type[Checkpoint], of: StepInput | FinishInput) -> tuple[Any, ...]:
    where: tuple[Any, ...] = (
        col(table.tenant_id) == UUID(of.tenant_id),
        col(table.execution_id) == UUID(of.execution_id),
        col(table.lineage) == of.lineage,
    )
    return where if of.step is None else (*where, col(table.step_index) == of.step.index)


async def _event(db: AsyncSession, of: StepInput | FinishInput, event_type: str, data: JsonObject) -> None:
    event = ExecutionEvent(
        id=new_id(), tenant_id=UUID(of.tenant_id), execution_id=UUID(of.execution_id), event_type=event_type, data=data
    )
    await db.execute(insert(ExecutionEvent).values(event.model_dump()))
