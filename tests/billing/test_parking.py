"""Runs that cannot pay: they park before the call, and go on by themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.service import RPCError

from models.repositories.parking import ParkingRepository, tenants_who_could_pay
from models.tables import Budget, ParkedRun
from models.tables.base import now
from models.wire_commands import (
    AcknowledgeCommand,
    ApproveCommand,
    CancelCommand,
    FundsCommand,
    PauseCommand,
    ResumeCommand,
    RollbackCommand,
)
from models.wire_handoff import Proposal, Voter
from omium_core.credits import MICRO
from tests.billing.parking import MOST, STEPS, World, id_of, until_under_way
from tests.billing.parking import settings as settings
from tests.billing.parking import temporal_address as temporal_address
from tests.billing.parking import world as world


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
    await world.payer.execute(update(ParkedRun).values(woken_at=now()))
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


async def test_a_vote_that_decides_ends_the_wait_for_validators_that_cannot_be_paid(world: World) -> None:
    voters = [Voter("checker", "validator"), Voter("ada", "person")]
    world.handoff = Proposal("one", ["two"], voters, payload_hash="sha256:aa", quorum="any")
    run = await world.start()
    await world.until(run, "paused", "credits")
    # enough for the steps, of which nobody has told the run
    await world.payer.grant(STEPS * MOST)
    voted = await run.execute_update("acknowledge_handoff", AcknowledgeCommand("v1", index=1, voter="ada"))
    assert (voted["committed"], voted["error"]) == (True, "")
    assert (await run.result())["status"] == "completed"
    assert (world.calls[str(id_of(run))], world.rounds[-1]) == (STEPS, "committed")
    assert await world.parked(run) is None
