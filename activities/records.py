"""The database side of a step: what a worker reads before it and writes after it.

Each method is one transaction, and repeatable: a worker may die after the commit and before it could say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import Json, JsonObject, StaleAttempt, StepError
from activities.questions import mark_waiting
from activities.stores.values import Stored, ValueStore
from models.database import Database
from models.repositories.journal import JournalRepository, StepKey
from models.repositories.steps import CompletedStep, MadeBefore, open_attempt, record_completed_step
from models.repositories.workflows import WorkflowRepository
from models.tables import Agent, Checkpoint, Execution, ExecutionEvent
from models.tables.base import new_id
from models.wire import CheckpointRef, Step, StepInput, StepOutcome
from omium_core.credits import to_credits, to_micro


@dataclass(frozen=True)
class StepDone:
    """What a step leaves in the database. `outputs` of a run are given once, with its last step.

    `checkpoint_name` and the conditions are those that the definition gives to the step.
    """

    blob: str
    size: int
    unit: Json
    next_step: str | None
    outputs: Json = None
    outputs_blob: str | None = None
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost: int = 0
    checkpoint_name: str | None = None
    preconditions: list[Json] | None = None
    postconditions: list[Json] | None = None
    units: tuple[str, ...] = ()
    tool_failures: int | None = None
    #: What it took to store the state, in microseconds.
    overhead_us: int | None = None


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

    def __init__(self, database: Database, place_freed: Callable[[UUID], None] | None = None) -> None:
        """`place_freed` is told the tenant of each run that needs no place among those that run any more."""
        self._database = database
        self._place_freed = place_freed
        # a version never changes, so its definition may be kept
        self._definitions: LRUCache[str, JsonObject] = LRUCache(maxsize=256)

    async def definition(self, step: StepInput, values: ValueStore) -> JsonObject:
        """The definition that holds for a step: its version's, or that with its lineage's edits."""
        if not step.definition:
            return await self.version(step.tenant_id, step.version_id)
        known = self._definitions.get(step.definition)
        if known is None:
            # as text, because the order of keys means something to some frameworks
            known = self._definitions[step.definition] = json.loads(await values.get(step.tenant_id, step.definition))
        return known

    async def version(self, tenant_id: str, version_id: str) -> JsonObject:
        known = self._definitions.get(version_id)
        if known is not None:
            return known
        version = await self._database.run(
            UUID(tenant_id), lambda db: WorkflowRepository(db, UUID(tenant_id)).version_by_id(UUID(version_id))
        )
        self._definitions[version_id] = version.workflow_definition
        return version.workflow_definition

    def place_freed(self, tenant_id: str) -> None:
        """A run of this tenant ended or paused: another may begin."""
        if self._place_freed is not None:
            self._place_freed(UUID(tenant_id))

    async def inputs(self, step: StepInput) -> Stored:
        """The run's inputs."""

        async def work(db: AsyncSession) -> Stored:
            query = select(col(Execution.inputs), col(Execution.inputs_blob)).where(*_execution(step))
            row = (await db.execute(query)).one()
            return Stored(row[0], row[1])

        return await self._database.run(UUID(step.tenant_id), work)

    async def begin_step(self, step: StepInput) -> Begun:
        """Opens a new attempt; tells the outcome if an earlier attempt already left its checkpoint."""
        key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        opened = await open_attempt(
            self._database,
            UUID(step.tenant_id),
            key,
            name=step.step.name,
            framework=step.framework,
            branch=step.node,
        )
        if opened.attempt is None:
            raise RunEnded("The run has ended: nothing more is done for it.")
        outcome = None if opened.made is None else _outcome(step, opened.made)
        return Begun(opened.attempt, Stored(opened.inputs, opened.inputs_blob), outcome)

    async def complete_step(self, step: StepInput, attempt: int, done: StepDone) -> StepOutcome:
        """Records a step and its checkpoint, all or nothing. `StaleAttempt` if a newer attempt runs."""
        usage = {
            "model_calls": done.model_calls,
            "tool_calls": done.tool_calls,
            "tokens": done.tokens,
            "credits": to_credits(done.cost),
        }
        recorded = await record_completed_step(
            self._database,
            CompletedStep(
                tenant_id=UUID(step.tenant_id),
                execution_id=UUID(step.execution_id),
                lineage=step.lineage,
                step_index=step.step.index,
                step_name=step.step.name,
                attempt=attempt,
                checkpoint_name=done.checkpoint_name,
                checkpoint_label=_label(step.step.name),
                blob=done.blob,
                size=done.size,
                unit=done.unit,
                usage=usage,
                next_step=done.next_step,
                outputs=done.outputs,
                outputs_blob=done.outputs_blob,
                branch=step.node,
                units=done.units,
                preconditions=done.preconditions,
                postconditions=done.postconditions,
                overhead_us=done.overhead_us,
                tool_failures=done.tool_failures,
                waited=step.answered,
            ),
        )
        if done.next_step is None and not step.node:
            self.place_freed(step.tenant_id)
        if recorded.checkpoint_id is None:
            return await self._made_before(step, attempt)
        return StepOutcome(
            checkpoint=CheckpointRef(str(recorded.checkpoint_id), recorded.number, done.blob, done.size),
            done=done.next_step is None,
            next_step=None if done.next_step is None else Step(step.step.index + 1, done.next_step),
            prepared=recorded.prepared,
            units=list(done.units),
            model_calls=done.model_calls,
            tool_calls=done.tool_calls,
            tokens=done.tokens,
            cost=done.cost,
        )

    async def skip_step(self, step: StepInput, attempt: int) -> StepOutcome:
        """A node of a flow that is not run: its condition does not hold. It leaves no checkpoint."""

        async def work(db: AsyncSession) -> None:
            await mark_waiting(db, step, attempt, "skipped")
            await _event(db, step, "step.skipped", {"step": step.step.index, "name": step.step.name})

        await self._database.run(UUID(step.tenant_id), work)
        return StepOutcome(checkpoint=CheckpointRef(), done=True, skipped=True)

    async def mark_used(self, step: StepInput, attempt: int, calls: Collection[tuple[str, int]]) -> None:
        """Writes down which answers, of its own and of earlier attempts, an attempt used."""
        key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        tenant_id = UUID(step.tenant_id)
        if calls:
            await self._database.run(
                tenant_id, lambda db: JournalRepository(db, tenant_id).mark_used(key, attempt, calls)
            )

    async def wait(self, step: StepInput, attempt: int) -> None:
        """The step's row says that it waits."""
        await self._database.run(UUID(step.tenant_id), lambda db: mark_waiting(db, step, attempt))

    async def _made_before(self, step: StepInput, attempt: int) -> StepOutcome:
        """The outcome that an earlier attempt, or a commit whose answer was lost, left behind."""

        async def work(db: AsyncSession) -> Checkpoint | None:
            query = select(Checkpoint).where(*_of(Checkpoint, step), col(Checkpoint.kind) == "step")
            return (await db.execute(query)).scalar_one_or_none()

        made = await self._database.run(UUID(step.tenant_id), work)
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

        return await self._database.run(UUID(step.tenant_id), work)


def _outcome(step: StepInput, made: MadeBefore) -> StepOutcome:
    return StepOutcome(
        checkpoint=CheckpointRef(id=str(made.id), number=made.number, blob=made.blob, size=made.size),
        done=made.next_step is None,
        next_step=None if made.next_step is None else Step(step.step.index + 1, made.next_step),
        model_calls=made.usage.get("model_calls", 0),
        tool_calls=made.usage.get("tool_calls", 0),
        tokens=made.usage.get("tokens", 0),
        cost=to_micro(made.usage.get("credits", 0)),
        units=made.usage.get("units", []),
    )


def _label(step_name: str) -> str:
    """The part of a checkpoint's name that tells the step: `write_report` in `step_2_write_report`."""
    return re.sub(r"\W+", "_", step_name.lower()).strip("_")[:200]


def _execution(of: StepInput) -> tuple[Any, ...]:
    return col(Execution.tenant_id) == UUID(of.tenant_id), col(Execution.id) == UUID(of.execution_id)


def _of(table: type[Agent] | type[Checkpoint], of: StepInput) -> tuple[Any, ...]:
    return (
        col(table.tenant_id) == UUID(of.tenant_id),
        col(table.execution_id) == UUID(of.execution_id),
        col(table.lineage) == of.lineage,
        col(table.step_index) == of.step.index,
    )


async def _event(db: AsyncSession, of: StepInput, event_type: str, data: JsonObject) -> None:
    event = ExecutionEvent(
        id=new_id(), tenant_id=UUID(of.tenant_id), execution_id=UUID(of.execution_id), event_type=event_type, data=data
    )
    await db.execute(insert(ExecutionEvent).values(event.model_dump()))
