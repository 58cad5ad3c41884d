"""The beginning and the end of a step: one statement each, fenced, and harmless when repeated."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from activities.records import Records, RunEnded, StaleAttempt, StepDone
from activities.run_records import RunRecords
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.executions import ExecutionRepository
from models.repositories.journal import StepKey
from models.repositories.steps import CompletedStep, OpenedAttempt, Recorded, open_attempt, record_completed_step
from models.tables import Agent, Checkpoint, Execution, ExecutionEvent, Failure, Workflow, WorkflowVersion
from models.wire import CheckpointRef, FinishInput, RunLimits, Step, StepInput


@dataclass
class Run:
    """An execution and what is done to it."""

    database: Database
    tenant: UUID
    id: UUID

    async def open(self, step: int = 0, name: str = "step") -> OpenedAttempt:
        return await open_attempt(
            self.database, self.tenant, StepKey(self.id, 0, step), name=name, framework="langgraph"
        )

    def done(self, step: int = 0, attempt: int = 1, **changes: Any) -> CompletedStep:
        done = CompletedStep(
            tenant_id=self.tenant,
            execution_id=self.id,
            lineage=0,
            step_index=step,
            step_name=f"step {step}",
            attempt=attempt,
            checkpoint_name=None,
            checkpoint_label="step",
            blob=f"{step}" * 64,
            size=100,
            unit={"said": "something"},
            usage={"model_calls": 1, "tool_calls": 0, "tokens": 7, "credits": 0.250003},
            next_step="next",
            outputs=None,
            outputs_blob=None,
        )
        return replace(done, **changes)

    async def record(self, done: CompletedStep) -> Recorded:
        return await record_completed_step(self.database, done)

    def end(self, status: str = "failed", *, retry: int = 0, step: Step | None = None) -> FinishInput:
        return FinishInput(
            str(self.tenant), str(self.id), 0, status, step, "agent_error" if status == "failed" else "", "why", retry
        )

    async def finish(self, end: FinishInput) -> None:
        # only the end of a flow reads values
        values: ValueStore = None  # type: ignore[assignment]
        await RunRecords(self.database, values, Records(self.database)).finish(end)

    async def move_to_lineage(self, lineage: int) -> None:
        async with self.database.transaction(self.tenant) as session:
            execution = await ExecutionRepository(session, self.tenant).get(self.id)
            execution.lineage = lineage
            session.add(execution)

    async def row(self) -> Execution:
        async with self.database.transaction(self.tenant) as session:
            return await ExecutionRepository(session, self.tenant).get(self.id)

    async def agents(self) -> list[tuple[int, str, int]]:
        """Index, status and attempt of each step."""
        async with self.database.transaction(self.tenant) as session:
            found = await ExecutionRepository(session, self.tenant).agents(self.id, 0)
        return [(agent.step_index, agent.status, agent.attempt) for agent in found]

    async def events(self) -> list[str]:
        query = select(col(ExecutionEvent.event_type)).where(col(ExecutionEvent.execution_id) == self.id)
        async with self.database.transaction(self.tenant) as session:
            return list((await session.execute(query.order_by(col(ExecutionEvent.id)))).scalars())

    async def count(self, table: type[Checkpoint] | type[Failure]) -> int:
        async with self.database.transaction(self.tenant) as session:
            found = await session.execute(select(table).where(col(table.execution_id) == self.id))
            return len(found.scalars().all())


@pytest.fixture
async def run(database: Database, tenant: UUID) -> Run:
    common: dict[str, Any] = {"tenant_id": tenant, "framework": "langgraph"}
    workflow = Workflow(name="w", **common)
    version = WorkflowVersion(workflow_id=workflow.id, version=1, **common)
    execution = Execution(
        workflow_id=workflow.id,
        version_id=version.id,
        workflow_version=1,
        title="t",
        inputs={"topic": "x"},
        **common,
    )
    async with database.transaction(tenant) as session:
        for row in (workflow, version, execution):
            session.add(row)
            await session.flush()
    return Run(database, tenant, execution.id)


async def test_first_attempt_begins_the_run(run: Run) -> None:
    opened = await run.open()
    assert (opened.attempt, opened.inputs, opened.made) == (1, {"topic": "x"}, None)
    row = await run.row()
    assert (row.status, row.started_at is not None) == ("running", True)
    assert await run.events() == ["execution.started"]


async def test_only_the_newest_attempt_may_record(run: Run) -> None:
    await run.open()
    assert (await run.open()).attempt == 2
    before = (await run.row(), await run.agents(), await run.events())
    assert await run.record(run.done(attempt=1)) == Recorded(None, 0, False)
    assert (await run.row(), await run.agents(), await run.events()) == before
    assert (await run.record(run.done(attempt=2))).checkpoint_id is not None
    assert await run.count(Checkpoint) == 1


async def test_repetition_after_a_lost_answer_changes_nothing(run: Run) -> None:
    await run.open()
    made = await run.record(run.done())
    after = (await run.row(), await run.agents(), await run.events())
    assert await run.record(run.done(blob="f" * 64)) == Recorded(None, 0, False)
    assert (await run.row(), await run.agents(), await run.events()) == after

    # the worker that asks again is told what was made
    step = step_input(run)
    outcome = await Records(run.database).complete_step(step, 1, StepDone("f" * 64, 1, None, "next"))
    assert (outcome.checkpoint.id, outcome.checkpoint.blob) == (str(made.checkpoint_id), "0" * 64)
    again = await Records(run.database).begin_step(step)
    assert again.outcome is not None
    assert again.outcome.next_step == Step(1, "next")
    assert (again.outcome.model_calls, again.outcome.tokens, again.outcome.cost) == (1, 7, 250_003)
    # nor is there another attempt than the one that did it
    assert (await run.row(), await run.agents(), await run.events()) == after


async def test_next_step_is_opened_along_with_the_checkpoint(run: Run) -> None:
    await run.open()
    assert (await run.record(run.done())).prepared
    assert await run.agents() == [(0, "completed", 1), (1, "running", 1)]


async def test_planned_next_step_is_opened_but_one_under_way_is_left(run: Run) -> None:
    async with run.database.transaction(run.tenant) as session:
        session.add(
            Agent(tenant_id=run.tenant, execution_id=run.id, step_index=1, name="planned", framework="langgraph")
        )
    await run.open(1)
    await run.open(0)
    assert not (await run.record(run.done())).prepared
    assert await run.agents() == [(0, "completed", 1), (1, "running", 1)]


async def test_last_step_ends_the_run(run: Run) -> None:
    await run.open()
    recorded = await run.record(run.done(next_step=None, outputs={"answer": 42}))
    assert not recorded.prepared
    row = await run.row()
    assert (row.status, row.outputs, row.steps_done, row.checkpoint_count) == ("completed", {"answer": 42}, 1, 1)
    assert row.completed_at is not None
    assert await run.events() == ["execution.started", "step.completed", "execution.completed"]
    # what a step took is told of the step, not of the run
    told = select(col(ExecutionEvent.data)).where(col(ExecutionEvent.execution_id) == run.id)
    async with run.database.transaction(run.tenant) as session:
        found = (await session.execute(told.order_by(col(ExecutionEvent.id)))).scalars().all()
    assert [data.get("credits") for data in found] == [None, 0.250003, None]


async def test_the_database_counts_checkpoints(run: Run) -> None:
    await run.open()
    for step in range(2):
        recorded = await run.record(run.done(step, checkpoint_name="mine" if step else None))
        assert recorded.number == step + 1
    assert (await run.row()).current_checkpoint == "mine"


async def test_nothing_is_done_for_a_lineage_that_was_left(run: Run) -> None:
    await run.open()
    await run.move_to_lineage(1)
    before = (await run.row(), await run.events())
    assert (await run.record(run.done())).checkpoint_id is None
    assert (await run.open()).attempt is None
    assert (await run.row(), await run.events()) == before


async def test_ended_run_is_not_acted_for(run: Run) -> None:
    await run.open()
    await run.finish(run.end("cancelled"))
    before = (await run.row(), await run.agents(), await run.events())
    assert (await run.open()).attempt is None
    with pytest.raises(RunEnded):
        await Records(run.database).begin_step(step_input(run))
    # nor by an attempt that was under way when it ended
    assert await run.record(run.done(next_step=None)) == Recorded(None, 0, False)
    with pytest.raises(StaleAttempt):
        await Records(run.database).fail_attempt(step_input(run), 1, "agent_error", "late")
    assert (await run.row(), await run.agents(), await run.events()) == before
    assert before[0].status == "cancelled"


async def test_finish_is_done_once(run: Run) -> None:
    await run.open()
    for _ in range(2):
        await run.finish(run.end("failed", step=Step(0, "x" * 1000)))
    assert (await run.row()).status == "failed"
    assert await run.agents() == [(0, "failed", 1)]
    assert await run.count(Failure) == 1
    assert (await run.events()).count("execution.failed") == 1


async def test_finish_leaves_a_run_that_ended(run: Run) -> None:
    await run.open()
    await run.record(run.done(next_step=None))
    await run.finish(run.end("failed"))
    assert (await run.row()).status == "completed"
    assert await run.count(Failure) == 0


async def test_finish_leaves_a_run_that_was_taken_up_again(run: Run) -> None:
    await run.open()
    async with run.database.transaction(run.tenant) as session:
        await session.execute(
            update(Execution).where(col(Execution.id) == run.id).values(status="pending", retry_count=1)
        )
    await run.finish(run.end("failed", retry=0))
    assert (await run.row()).status == "pending"
    assert await run.agents() == [(0, "running", 1)]
    await run.finish(run.end("failed", retry=1))
    assert (await run.row()).status == "failed"


async def test_end_of_the_run_and_of_its_last_step_at_once(run: Run) -> None:
    """Whoever is first decides, wholly."""
    for _ in range(20):
        await run.open()
        await asyncio.gather(run.record(run.done(attempt=(await run.agents())[0][2])), run.finish(run.end("cancelled")))
        row, agents = await run.row(), await run.agents()
        assert row.status == "cancelled"
        assert {status for _, status, _ in agents} <= {"completed", "cancelled"}
        assert row.checkpoint_count == await run.count(Checkpoint)
        async with run.database.transaction(run.tenant) as session:
            await session.execute(update(Execution).where(col(Execution.id) == run.id).values(status="running"))
        if row.checkpoint_count:
            break


async def test_names_beyond_a_rows_length_are_cut(run: Run) -> None:
    name = " + ".join(["漢" * 100] * 5)
    await run.open(name=name)
    assert (await run.record(run.done(next_step=name))).prepared
    assert [len(agent.name) for agent in await _agents(run)] == [255, 255]


async def _agents(run: Run) -> list[Agent]:
    async with run.database.transaction(run.tenant) as session:
        return list(await ExecutionRepository(session, run.tenant).agents(run.id, 0))


def step_input(run: Run, step: int = 0) -> StepInput:
    return StepInput(
        tenant_id=str(run.tenant),
        execution_id=str(run.id),
        version_id="",
        framework="langgraph",
        lineage=0,
        step=Step(step, "step"),
        checkpoint=CheckpointRef(number=step),
        limits=RunLimits(),
    )
