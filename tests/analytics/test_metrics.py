"""Metrics are filled in the transaction that ends the step, or the run: both are there, or neither."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from activities.maintenance.rollups import RollupActivities
from activities.records import Records
from activities.run_records import RunRecords
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.steps import CompletedStep, Recorded, open_attempt, record_completed_step
from models.tables import (
    Agent,
    AgentMetrics,
    Approval,
    Checkpoint,
    ConsensusLog,
    Execution,
    ExecutionMetrics,
    Failure,
    JournalEntry,
    Workflow,
)
from models.tables.base import new_id, now
from models.wire import FinishInput, Step
from tests.analytics.runs import add_workflow


class Run:
    """A run that has begun, and what is done to it."""

    def __init__(self, database: Database, tenant: UUID, id_: UUID) -> None:
        self.database, self.tenant, self.id = database, tenant, id_

    async def begin(self, step: int = 0) -> None:
        key = StepKey(self.id, 0, step)
        await open_attempt(self.database, self.tenant, key, name="write", framework="langgraph")

    async def call(self, kind: str, name: str, tokens: int = 0, cost: int = 0, *, step: int = 0) -> None:
        async with self.database.transaction(self.tenant) as session:
            session.add(self.entry(kind, name, tokens, cost, step=step))

    def entry(self, kind: str, name: str, tokens: int = 0, cost: int = 0, *, step: int = 0) -> JournalEntry:
        """An answered call of a step."""
        return JournalEntry(
            execution_id=self.id,
            lineage=0,
            step_index=step,
            request_hash=new_id().hex,
            occurrence=0,
            tenant_id=self.tenant,
            kind=kind,
            name=name,
            endpoint="x",
            attempt=1,
            content_type="application/json",
            answer=b"x",
            input_tokens=tokens,
            cost=cost,
        )

    async def complete(self, step: int = 0, attempt: int = 1, **changes: Any) -> Recorded:
        done = CompletedStep(
            tenant_id=self.tenant,
            execution_id=self.id,
            lineage=0,
            step_index=step,
            step_name="write",
            attempt=attempt,
            checkpoint_name=None,
            checkpoint_label="write",
            blob=f"{step}" * 64,
            size=100,
            unit=None,
            usage={},
            next_step="write",
            outputs=None,
            outputs_blob=None,
            overhead_us=1500,
            tool_failures=0,
        )
        return await record_completed_step(self.database, replace(done, **changes))

    async def finish(self, status: str, retry: int = 0) -> None:
        values: ValueStore = None  # type: ignore[assignment]
        failed = status == "failed"
        step = Step(0, "write") if failed else None
        end = FinishInput(str(self.tenant), str(self.id), 0, status, step, "timeout" if failed else "", "why", retry)
        await RunRecords(self.database, values, Records(self.database)).finish(end)

    async def add(self, *rows: Any) -> None:
        async with self.database.transaction(self.tenant) as session:
            for row in rows:
                session.add(row)
                await session.flush()

    async def steps(self) -> list[AgentMetrics]:
        query = (
            select(AgentMetrics)
            .join(Agent, col(Agent.id) == col(AgentMetrics.agent_id))
            .order_by(col(Agent.step_index))
        )
        async with self.database.transaction(self.tenant) as session:
            return list((await session.execute(query.where(col(Agent.execution_id) == self.id))).scalars())

    async def measured(self) -> ExecutionMetrics:
        query = select(ExecutionMetrics).where(col(ExecutionMetrics.execution_id) == self.id)
        async with self.database.transaction(self.tenant) as session:
            found: ExecutionMetrics = (await session.execute(query)).scalar_one()
        return found

    async def told(self) -> tuple[int, int, int]:
        """Calls of models, tokens and cost, as analytics count them now."""
        query = text(
            "SELECT llm_calls, tokens, f.cost_micro FROM execution_facts f JOIN execution_metrics m USING (id) WHERE m.execution_id = :id"
        )
        async with self.database.transaction(self.tenant) as session:
            row = (await session.execute(query, {"id": self.id})).one()
        return (row[0], row[1], row[2])


@pytest.fixture
async def run(database: Database, tenant: UUID) -> Run:
    workflow = await add_workflow(database, tenant)
    async with database.transaction(tenant) as session:
        version: UUID = (
            await session.execute(text("SELECT id FROM workflow_versions WHERE workflow_id = :id"), {"id": workflow})
        ).scalar_one()
        execution = Execution(
            tenant_id=tenant,
            workflow_id=(await session.get_one(Workflow, workflow)).id,
            version_id=version,
            workflow_version=1,
            framework="langgraph",
            title="x",
        )
        session.add(execution)
    begun = Run(database, tenant, execution.id)
    await begun.begin()
    return begun


async def test_a_step_is_measured_with_its_checkpoint(run: Run) -> None:
    await run.call("model", "openai/gpt", 30, 5_000_000)
    await run.call("model", "openai/gpt", 10, 1)
    await run.call("tool", "search", cost=7)
    await run.complete(tool_failures=1)
    [step] = await run.steps()
    assert (step.llm_calls, step.tokens_used, step.cost_micro, step.tool_calls) == (2, 40, 5_000_008, 1)
    assert (step.llm_model, step.llm_provider, step.tool_failures) == ("openai/gpt", "openai", 1)
    assert (step.checkpoint_bytes, step.checkpoint_overhead_us, step.wait_time_ms) == (100, 1500, None)
    assert step.duration_ms >= 0
    assert step.cost_usd == Decimal("0.0500")
    # at once, although the run goes on
    assert await run.told() == (2, 40, 5_000_008)
    assert (await run.measured()).status == "running"


async def test_the_last_step_measures_the_run(run: Run) -> None:
    await run.call("model", "small", 5, 10)
    await run.complete()
    await run.call("model", "large", 7, 10**8, step=1)
    await run.call("model", "large", 7, 0, step=1)
    await run.complete(1, next_step=None)
    found = await run.measured()
    assert (found.status, found.checkpoint_count, found.checkpoint_bytes) == ("completed", 2, 200)
    assert (found.total_llm_calls, found.total_tokens, found.cost_micro) == (3, 19, 10**8 + 10)
    assert (found.llm_model, found.checkpoint_overhead_ms, found.consensus_overhead_ms) == ("large", 3, None)
    assert found.total_cost_usd == 1
    async with run.database.transaction(run.tenant) as session:
        execution = await session.get_one(Execution, run.id)
    assert execution.started_at is not None
    assert execution.completed_at is not None
    took = (execution.completed_at - execution.started_at) / timedelta(milliseconds=1)
    assert found.total_duration_ms == pytest.approx(took, abs=1)


async def test_what_is_not_recorded_is_not_measured(run: Run) -> None:
    await run.call("model", "m", 1, 1)
    await run.complete(attempt=2)
    assert await run.steps() == []
    # a statement that fails in the middle, as if the process or the connection had died there
    with pytest.raises(DBAPIError):
        await run.complete(outputs_blob="far too long for a hash" * 10)
    assert await run.steps() == []
    async with run.database.transaction(run.tenant) as session:
        query = select(Checkpoint).where(col(Checkpoint.execution_id) == run.id)
        assert (await session.execute(query)).first() is None
    assert await run.told() == (0, 0, 0)
    await run.complete()
    await run.complete()
    assert len(await run.steps()) == 1


async def test_a_step_that_is_broken_off_has_used_something_too(run: Run) -> None:
    await run.call("model", "m", 11, 13)
    await run.finish("failed")
    [step] = await run.steps()
    assert (step.status, step.llm_calls, step.tokens_used, step.cost_micro) == ("failed", 1, 11, 13)
    assert (step.tool_failures, step.checkpoint_bytes) == (None, None)
    found = await run.measured()
    assert (found.status, found.failure_count, found.failure_type) == ("failed", 1, "timeout")
    assert (found.total_llm_calls, found.total_tokens, found.cost_micro) == (1, 11, 13)


async def test_votes_on_a_step_that_never_began_count(run: Run) -> None:
    await run.complete()
    await run.call("model", "m", 11, 13, step=1)
    await run.finish("cancelled")
    await run.call("model", "m", 1, 2, step=1)
    assert [(step.status, step.llm_calls, step.tokens_used) for step in await run.steps()] == [
        ("completed", 0, 0),
        ("cancelled", 2, 12),
    ]
    assert await run.told() == (2, 12, 15)


async def test_an_answer_that_comes_after_the_end_counts(run: Run) -> None:
    await run.call("model", "m", 11, 13)
    await run.finish("failed")
    # also when it is contained in roll-ups
    await RollupActivities(run.database).roll_up_now(run.tenant)
    await run.call("model", "openai/m", 20, 30)
    await run.call("model", "openai/m", 1, 2)
    await run.call("tool", "search", cost=7)
    [step] = await run.steps()
    assert (step.llm_calls, step.tokens_used, step.cost_micro, step.tool_calls) == (3, 32, 52, 1)
    assert (step.llm_model, step.llm_provider, step.status, step.rolled) == ("openai/m", "openai", "failed", False)
    found = await run.measured()
    assert (found.total_llm_calls, found.total_tool_calls, found.total_tokens, found.cost_micro) == (3, 1, 32, 52)
    assert (found.status, found.llm_model, found.rolled) == ("failed", "openai/m", False)
    assert await run.told() == (3, 32, 52)


async def test_an_answer_that_is_written_while_the_run_ends_counts(run: Run) -> None:
    locked = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with run.database.transaction(run.tenant) as session:
        session.add(run.entry("model", "m", 11, 13))
        await session.flush()
        ending = asyncio.create_task(run.finish("failed"))
        while not (await session.execute(locked)).scalar_one():
            assert not ending.done()
            await asyncio.sleep(0.01)
    await ending
    assert await run.told() == (1, 11, 13)


async def test_a_retry_counts_what_was_used_before_once(run: Run) -> None:
    await run.call("model", "m", 11, 13)
    await run.finish("failed")
    async with run.database.transaction(run.tenant) as session:
        await session.execute(
            update(Execution)
            .where(col(Execution.id) == run.id)
            .values(status="pending", retry_count=1, completed_at=None)
        )
        await session.execute(
            update(Agent).where(col(Agent.execution_id) == run.id).values(status="pending", completed_at=None)
        )
    await run.begin()
    await run.call("model", "m", 100, 100)
    await run.complete(attempt=2, next_step=None)
    [step] = await run.steps()
    assert (step.status, step.llm_calls, step.tokens_used, step.cost_micro) == ("completed", 2, 111, 113)
    found = await run.measured()
    assert (found.status, found.retry_count, found.total_tokens, found.cost_micro) == ("completed", 1, 111, 113)
    # it failed once, and is no failed run
    assert found.failure_count == 1


async def test_waiting_for_people_and_votes_is_measured(run: Run) -> None:
    at = now()
    of_step: dict[str, Any] = {"tenant_id": run.tenant, "execution_id": run.id, "lineage": 0, "step_index": 0}
    await run.add(
        Approval(
            **of_step,
            step_name="write",
            interrupt_id="q",
            status="approved",
            created_at=at - timedelta(seconds=5),
            answered_at=at - timedelta(seconds=2),
        ),
        ConsensusLog(
            **of_step,
            term=1,
            log_index=1,
            leader="write",
            sender="write",
            payload_hash="3" * 64,
            voters=[],
            acks_required=1,
            status="committed",
            created_at=at - timedelta(seconds=2),
            committed_at=at - timedelta(seconds=1),
        ),
    )
    await run.complete(waited=True, next_step=None)
    [step] = await run.steps()
    assert step.wait_time_ms == 3000
    assert (await run.measured()).consensus_overhead_ms == 1000


@pytest.mark.parametrize("status", ["cancelled", "rolled_back", "paused"])
async def test_every_change_of_a_run_is_followed(run: Run, status: str) -> None:
    async with run.database.transaction(run.tenant) as session:
        await session.execute(update(Execution).where(col(Execution.id) == run.id).values(status=status, lineage=2))
    found = await run.measured()
    assert (found.status, found.rollback_count) == (status, 2)


async def test_failures_that_a_run_gets_over_are_counted(run: Run) -> None:
    await run.add(
        *(
            Failure(tenant_id=run.tenant, execution_id=run.id, failure_type=kind, error_message="x")
            for kind in ("a", "b")
        )
    )
    found = await run.measured()
    assert (found.failure_count, found.failure_type, found.status) == (2, "b", "running")
