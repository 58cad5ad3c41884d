"""Runs of which only the steps are made up, for tests of want of money. The workflow, its records and the waking are real; each
step makes one call, held for and settled in the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlmodel import col
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.launch import launch
from activities.payload_codec import sealing_converter
from activities.records import Records
from activities.run_records import RunRecords
from activities.stores.encrypted import EncryptedStore
from activities.stores.factory import open_bytes
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository, reserve
from models.repositories.parking import ParkingRepository
from models.tables import Execution, ExecutionEvent, ParkedRun
from models.wire import (
    AnswerInput,
    CheckpointRef,
    FinishInput,
    HandoffWish,
    Question,
    RollbackInput,
    RollbackOutcome,
    RoundInput,
    Step,
    StepInput,
    StepOutcome,
    ValidatorsInput,
)
from models.wire_handoff import Proposal, Vote
from omium_core import temporal
from omium_core.connect import connect_temporal
from omium_core.credits import MICRO
from omium_core.settings import Settings
from tests.billing.conftest import Payer
from tests.support.database import PostgresServer
from tests.support.temporal import running_temporal
from workers.funds import Funds
from workflows.agent_run import AgentRun

#: Steps of every run here, and what the call of each may cost and does cost, in credits.
STEPS, MOST, COST = 3, 4, 3
PATIENCE = 30


@pytest.fixture(scope="module")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_temporal(tmp_path_factory.mktemp("temporal") / "data") as address:
        yield address


@pytest.fixture
def settings(postgres: PostgresServer, temporal_address: str, tmp_path: Any) -> Settings:
    return Settings(
        database_url=postgres.url, temporal_address=temporal_address, store_path=tmp_path, billing_enforced=True
    )


@dataclass
class World:
    """Runs of a tenant, and the one worker that serves them."""

    client: Client
    database: Database
    settings: Settings
    payer: Payer
    records: RunRecords
    calls: Counter[str] = field(default_factory=Counter)
    freed: Counter[UUID] = field(default_factory=Counter)

    #: Nodes of flows whose step waits for this, and then asks a person.
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    #: What the first step hands over, and the states of the round as they were told.
    handoff: Proposal | None = None
    rounds: list[str] = field(default_factory=list)

    @activity.defn(name="ask_validators")
    async def ask_validators(self, asked: ValidatorsInput) -> list[Vote]:
        """Nobody can pay for them."""
        raise ApplicationError("", {"required": MOST * MICRO, "budget_id": ""}, type="credits", non_retryable=True)

    @activity.defn(name="record_round")
    async def record_round(self, told: RoundInput) -> None:
        self.rounds.append(told.round.status)

    @activity.defn(name="run_step")
    async def run_step(self, step: StepInput) -> StepOutcome:
        if self.handoff is not None and not step.step.index and not step.committed:
            return StepOutcome(step.checkpoint, handoff=HandoffWish(self.handoff, validators=["checker"]))
        if step.node in self.gates and not step.answered:
            await self.gates[step.node].wait()
            return StepOutcome(step.checkpoint, questions=[Question("question of " + step.node)])
        tenant, key = self.payer.tenant, StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        call = CallKey(key, "c" * 64, 0)
        held = await reserve(self.database, tenant, call, activity.info().attempt, MOST * MICRO, enforced=True)
        if held.outcome != "held":
            budget = "" if held.budget_id is None else str(held.budget_id)
            return StepOutcome(step.checkpoint, parked=held.outcome, required=MOST * MICRO, budget_id=budget)
        self.calls[step.execution_id] += 1
        number = step.step.index + 1
        done = number == STEPS or bool(step.node)
        async with self.database.transaction(tenant) as db:
            await LedgerRepository(db, tenant).settle(call, Charge(COST * MICRO, "model", "small"))
            if done:
                own = update(Execution).where(col(Execution.id) == UUID(step.execution_id))
                await db.execute(own.values(status="completed", reason=None))
        at = CheckpointRef(str(uuid4()), number, "b", 1)
        return StepOutcome(at, done=done, next_step=None if done else Step(number, f"step {number}"))

    @activity.defn(name="roll_back")
    async def roll_back(self, wish: RollbackInput) -> RollbackOutcome:
        return RollbackOutcome(error="There is no such checkpoint.", code="ROLLBACK_FAILED")

    @activity.defn(name="finish_run")
    async def finish_run(self, end: FinishInput) -> None:
        """Flows give what their nodes left, which here is nothing."""
        await self.records.finish(replace(end, is_flow=False))

    @activity.defn(name="record_answer")
    async def record_answer(self, answer: AnswerInput) -> bool:
        self.answers.append(answer.decision)
        return True

    async def start(self, *nodes: str) -> WorkflowHandle[Any, Any]:
        """A run of three steps, or of a flow with these nodes, a step each."""
        owned = await self.payer.run()
        async with self.database.transaction(self.payer.tenant) as db:
            execution = await db.get_one(Execution, owned.execution)
            execution.flow = [{"id": node, "framework": "langgraph", "name": node} for node in nodes] or None
        await launch(self.client, execution, self.settings)
        return self.client.get_workflow_handle(temporal.workflow_id(self.payer.tenant, owned.execution))

    async def row(self, run: WorkflowHandle[Any, Any]) -> Execution:
        async with self.database.transaction(self.payer.tenant) as db:
            return await db.get_one(Execution, id_of(run))

    async def parked(self, run: WorkflowHandle[Any, Any]) -> ParkedRun | None:
        async with self.database.transaction(self.payer.tenant) as db:
            return await ParkingRepository(db, self.payer.tenant).find(id_of(run))

    async def until(self, run: WorkflowHandle[Any, Any], state: str, reason: str = "") -> None:
        """Until the run and its row say so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                told, row = await run.query("status"), await self.row(run)
                if (told["state"], told["reason"], row.status, row.reason or "") == (state, reason, state, reason):
                    return
                await asyncio.sleep(0.02)

    async def until_parked(self, run: WorkflowHandle[Any, Any], times: int) -> ParkedRun:
        """Until the run was parked so often."""
        async with asyncio.timeout(PATIENCE):
            while True:
                parked = await self.parked(run)
                if parked is not None and parked.times >= times:
                    return parked
                await asyncio.sleep(0.02)

    async def events(self, run: WorkflowHandle[Any, Any]) -> list[tuple[str, dict[str, Any]]]:
        async with self.database.transaction(self.payer.tenant) as db:
            query = select(ExecutionEvent).where(col(ExecutionEvent.execution_id) == id_of(run))
            rows: Sequence[ExecutionEvent] = (await db.execute(query.order_by(col(ExecutionEvent.id)))).scalars().all()
            wanted = ("execution.waits", "execution.resumed", "execution.paused")
            return [(row.event_type, row.data) for row in rows if row.event_type in wanted]

    def funds(self) -> Funds:
        return Funds(self.client, self.database, self.settings)


async def until_under_way(run: WorkflowHandle[Any, Any], count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if len((await run.describe()).raw_description.pending_activities) == count:
                return
            await asyncio.sleep(0.02)


def id_of(run: WorkflowHandle[Any, Any]) -> UUID:
    return UUID(run.id.rpartition("/")[2])


@pytest.fixture
async def world(settings: Settings, database: Database, payer: Payer) -> AsyncIterator[World]:
    client = await connect_temporal(settings, sealing_converter(database.keys))
    values = ValueStore(EncryptedStore(open_bytes(settings), database.keys), inline_bytes=settings.inline_bytes)
    freed: Counter[UUID] = Counter()
    records = RunRecords(database, values, Records(database, lambda tenant: freed.update([tenant])))
    world = World(client, database, settings, payer, records, freed=freed)
    async with Worker(
        client,
        task_queue=temporal.queue_for("langgraph"),
        workflows=[AgentRun],
        activities=[
            *(world.run_step, world.roll_back, world.record_answer, world.finish_run, records.record_state),
            *(world.ask_validators, world.record_round),
        ],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield world
