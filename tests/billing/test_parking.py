"""Runs that cannot pay: they park before the call, and go on by themselves. The workflow, its records and the waking are real,
the steps are this file's: each makes one call, held for and settled in the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlmodel import col
from temporalio import activity
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
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
from models.repositories.parking import ParkingRepository, tenants_who_could_pay
from models.tables import Budget, Execution, ExecutionEvent, ParkedRun
from models.tables.base import now
from models.wire import (
    AnswerInput,
    CheckpointRef,
    FinishInput,
    Question,
    RollbackInput,
    RollbackOutcome,
    Step,
    StepInput,
    StepOutcome,
)
from models.wire_commands import (
    ApproveCommand,
    CancelCommand,
    FundsCommand,
    PauseCommand,
    ResumeCommand,
    RollbackCommand,
)
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

    @activity.defn(name="run_step")
    async def run_step(self, step: StepInput) -> StepOutcome:
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
        activities=[world.run_step, world.roll_back, world.record_answer, world.finish_run, records.record_state],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield world


async def test_parks_before_the_call_and_goes_on_when_there_are_credits(world: World) -> None:
    await world.payer.grant(5)
    run = await world.start()
    await world.until(run, "paused", "credits")
    parked = await world.parked(run)
    assert parked is not None
    assert (parked.reason, parked.required, parked.times) == ("credits", MOST * MICRO, 1)
    assert (world.calls[str(id_of(run))], world.freed[world.payer.tenant]) == (1, 1)
    metadata: WorkflowMetadata = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert "may cost 4 credits" in metadata.current_details

    await world.payer.grant(1)
    await world.funds().once()
    assert (await world.parked(run)) is not None, "3 of 4 credits are not enough"
    await world.payer.grant(1)
    await world.funds().once()
    await world.until(run, "paused", "credits")
    parked = await world.until_parked(run, times=2)
    assert (parked.times, world.calls[str(id_of(run))]) == (2, 2)

    await world.payer.grant(100)
    await world.funds().once()
    assert (await run.result())["status"] == "completed"
    assert await world.parked(run) is None
    assert world.calls[str(id_of(run))] == STEPS, "no call was made twice"
    told = await world.events(run)
    assert [name for name, _ in told] == ["execution.waits", "execution.resumed"] * 2
    assert told[0][1] == {"reason": "credits", "required": 4}
    assert told[1][1] == {"by": "funds"}


async def test_a_budget_that_is_raised_or_gone_wakes_runs(world: World) -> None:
    payer = world.payer
    await payer.grant(100)
    budget = Budget(tenant_id=payer.tenant, scope="tenant", period="month", amount=3 * MICRO, period_start=now().date())
    budget.period_start = budget.period_start.replace(day=1)
    await payer.add(budget)
    run = await world.start()
    await world.until(run, "paused", "budget")
    parked = await world.parked(run)
    assert parked is not None
    assert (parked.reason, parked.budget_id, parked.required) == ("budget", budget.id, MOST * MICRO)
    await world.funds().once()
    assert await world.parked(run) is not None

    await payer.execute(update(Budget).values(amount=MOST * MICRO))
    await world.funds().once()
    parked = await world.until_parked(run, times=2)
    assert world.calls[str(id_of(run))] == 1
    # another month: what was spent in the last one does not count
    await payer.execute(update(Budget).values(period_start=budget.period_start - timedelta(days=31)))
    await world.funds().once()
    parked = await world.until_parked(run, times=3)
    assert world.calls[str(id_of(run))] == 2
    async with world.database.transaction(payer.tenant) as db:
        await db.delete(await db.get_one(Budget, budget.id))
    await world.funds().once()
    assert (await run.result())["status"] == "completed"
    assert world.calls[str(id_of(run))] == STEPS


async def test_oldest_first_and_not_more_than_there_is_money_for(world: World) -> None:
    runs = []
    for _ in range(3):
        runs.append(await world.start())
        await world.until(runs[-1], "paused", "credits")
    await world.payer.grant(2 * MOST)
    async with world.database.transaction(world.payer.tenant) as db:
        parking = ParkingRepository(db, world.payer.tenant)
        affordable = await parking.affordable(enforced=True)
        assert [waiting.execution_id for waiting in affordable] == [id_of(run) for run in runs[:2]]
        # one that was told a moment ago counts as if it had paid
        await parking.woken([id_of(runs[0])])
        assert [waiting.execution_id for waiting in await parking.affordable(enforced=True)] == [id_of(runs[1])]
        assert len(await parking.affordable(enforced=False)) == 2
        await db.execute(update(ParkedRun).where(col(ParkedRun.execution_id) == id_of(runs[1])).values(required=10**9))
        rest = await parking.affordable(enforced=True)
        assert [waiting.execution_id for waiting in rest] == [id_of(runs[2])], (
            "what costs too much keeps nobody waiting"
        )
        await db.rollback()


async def test_who_wakes_may_die_and_two_may_wake(world: World) -> None:
    run = await world.start()
    await world.until(run, "paused", "credits")
    await world.payer.grant(MOST)
    parked = await world.parked(run)
    assert parked is not None
    # told by one who died before it noted that, and by two others at once
    await run.signal("funds", FundsCommand(f"funds/{id_of(run)}/{parked.times}"))
    await asyncio.gather(world.funds().once(), world.funds().once())
    parked = await world.until_parked(run, times=2)
    await run.signal("funds", FundsCommand(f"funds/{id_of(run)}/1"))
    await asyncio.gather(world.funds().once(), world.funds().once())
    await run.query("status")
    told = [name for name, _ in await world.events(run)]
    assert told == ["execution.waits", "execution.resumed", "execution.waits"]
    assert parked.woken_at is None

    # one that was told, and did not hear of it, is told again
    await world.payer.grant(100)
    await world.payer.execute(update(ParkedRun).values(woken_at=now() - timedelta(seconds=5)))
    async with world.database.system() as db:
        assert world.payer.tenant not in await tenants_who_could_pay(db, enforced=True)
    await world.payer.execute(update(ParkedRun).values(woken_at=now() - timedelta(seconds=15)))
    await world.funds().once()
    assert (await run.result())["status"] == "completed"


async def test_what_people_say_to_a_run_that_waits_for_money(world: World) -> None:
    run = await world.start()
    await world.until(run, "paused", "credits")
    # a resume tries at once
    answer = await run.execute_update("resume", ResumeCommand("r1", actor="ada"))
    assert answer["state"] == "running"
    await world.until(run, "paused", "credits")
    parked = await world.parked(run)
    assert parked is not None
    assert parked.times == 2
    # a rollback that cannot be done leaves it where it was
    told = await run.execute_update("rollback", RollbackCommand("b1", checkpoint="1"))
    assert told["code"] == "ROLLBACK_FAILED"
    await world.until(run, "paused", "credits")
    # who pauses it wins: it stays so when there is money
    answer = await run.execute_update("pause", PauseCommand("p1", actor="ada"))
    assert (answer["state"], answer["reason"]) == ("paused", "operator")
    assert await world.parked(run) is None
    await world.payer.grant(100)
    await world.funds().once()
    await run.signal("funds", FundsCommand("by hand"))
    await run.query("status")
    await world.until(run, "paused", "operator")
    await run.execute_update("resume", ResumeCommand("r2", actor="ada"))
    assert (await run.result())["status"] == "completed"
    assert world.calls[str(id_of(run))] == STEPS


async def test_cancelled_while_it_waits_for_money(world: World) -> None:
    run = await world.start()
    await world.until(run, "paused", "credits")
    answer = await run.execute_update("cancel", CancelCommand("c1", actor="ada"))
    assert answer["state"] == "cancelled"
    assert await world.parked(run) is None
    assert (await world.row(run)).status == "cancelled"
    await world.payer.grant(100)
    await world.funds().once()
    with pytest.raises(RPCError):
        await run.signal("funds", FundsCommand("late"))


async def test_goes_on_in_another_history_and_still_waits(world: World) -> None:
    world.settings = world.settings.model_copy(update={"max_history": 30})
    run = await world.start()
    await world.until(run, "paused", "credits")
    first = (await run.describe()).run_id
    for number in range(3):
        await run.signal("funds", FundsCommand(f"again {number}"))
        await world.until_parked(run, times=number + 2)
    assert (await run.describe()).run_id != first
    await world.until(run, "paused", "credits")
    await world.payer.grant(100)
    await world.funds().once()
    assert (await run.result())["status"] == "completed"
    assert world.calls[str(id_of(run))] == STEPS


async def test_branches_end_softly_and_people_are_heard(world: World) -> None:
    """One branch cannot pay, one runs and then asks, and a person answers before there is money."""
    world.gates["asks"] = asyncio.Event()
    run = await world.start("pays", "asks")
    # both begin together, and the one that cannot pay is over at once
    await until_under_way(run, 1)
    assert (await run.query("status"))["state"] == "running", "a branch is still under way"
    assert await world.parked(run) is None
    world.gates["asks"].set()
    await world.until(run, "paused", "credits")
    await run.execute_update("approve", ApproveCommand("a1", "question of asks", actor="ada"))
    assert world.answers == ["approve"]
    assert (await run.query("status"))["branches"] == {"pays": "ready", "asks": "ready"}
    await world.payer.grant(2 * MOST)
    await world.funds().once()
    assert (await run.result())["status"] == "completed"
    assert (await world.row(run)).status == "completed"
    assert world.calls[str(id_of(run))] == 2
    assert await world.parked(run) is None
