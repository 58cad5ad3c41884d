"""A worker that dies at any moment of a rollback: whoever does it again ends where an undisturbed one would have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from models.tables import Checkpoint, Effect, ExecutionEvent
from models.wire import RollbackOutcome
from tests.steering.service import Clock, Killed
from tests.steering.world import MortalDatabase, Run, World
from tests.support.database import PostgresServer


@pytest.fixture
async def mortal(postgres: PostgresServer) -> AsyncIterator[MortalDatabase]:
    database = MortalDatabase(postgres.url, Clock())
    yield database
    await database.close()


async def make_run(world: World) -> tuple[Run, dict[str, Any]]:
    """A run with effects of every kind behind its first checkpoint, one of them with an outcome that nobody knows."""
    run = await world.new_run()
    await run.step(0, ("order", {"item": "kept"}), next_step="write")
    await run.step(1, ("order", {"item": "tea"}), ("mail", {"text": "hi"}), ("note", {"text": "x"}))
    attempt = await run.begin(2)
    await run.ask_person(2)
    await run.call(2, "reserve", {"seat": "A", "row": 1}, attempt=attempt, settle=False)
    return run, {"confirm": True, "edits": {"values": {"score": 5}}, "reason": "again"}


async def roll_back(world: World, run: Run, wish: dict[str, Any], mortal: MortalDatabase, deadly: int) -> bool:
    """One attempt of a process that dies at a moment; whether it lived to tell."""
    clock = mortal.clock = world.service.clock = Clock(deadly)
    try:
        outcome = await world.activities(mortal).carry_out(run.wish("1", **wish))
    except Killed:
        return False
    finally:
        world.service.clock = Clock()
    assert (outcome.error, clock.now < deadly or deadly == 0) == ("", True)
    return True


async def picture(world: World, run: Run, outcome: RollbackOutcome) -> dict[str, Any]:
    """What is left of a rollback, without what differs from run to run."""
    row = await run.row()
    bases = await run.checkpoints(1)
    events = [
        e for e in await run.rows(ExecutionEvent) if e.event_type.startswith(("rollback", "effect", "execution.r"))
    ]
    return {
        "row": (row.status, row.lineage, row.checkpoint_count, row.steps_done, row.reason, row.current_checkpoint),
        "bases": [(b.kind, b.checkpoint_number, b.step_index, b.next_step, b.checksum) for b in bases],
        "effects": [(e.tool, e.status) for e in await run.rows(Effect)],
        "agents": await run.agents(),
        "events": [e.event_type for e in events],
        "rollbacks": [(r.status, r.rollback_success, r.from_lineage, r.to_lineage) for r in await run.rollbacks()],
        "outcome": (outcome.error, outcome.lineage, outcome.next_index, [b.step for b in outcome.branches]),
        "orders": world.service.look(),
    }


@pytest.mark.thorough
async def test_killed_at_every_moment_in_turn(world: World, mortal: MortalDatabase) -> None:
    run, wish = await make_run(world)
    assert await roll_back(world, run, wish, mortal, 0)
    expected = await picture(world, run, await run.roll_back("1", **wish))
    world.service.orders.clear()

    deadly, alive = 0, False
    while not alive:
        deadly += 1
        log_before = len(world.service.log)
        run, wish = await make_run(world)
        alive = await roll_back(world, run, wish, mortal, deadly)
        outcome = await run.roll_back("1", from_lineage=0, **wish)
        assert await picture(world, run, outcome) == expected, f"killed at moment {deadly}"
        undone = [name for name, _ in world.service.log[log_before + 5 :]]
        assert undone == ["release", "cancel"], f"killed at moment {deadly}"
        assert len(await run.rows(Checkpoint)) == 3
        world.service.orders.clear()
    assert deadly > 20


async def test_killed_again_and_again(world: World, mortal: MortalDatabase) -> None:
    """Each process gets a little further than the one before."""
    run, wish = await make_run(world)
    for life in range(1, 60):
        if await roll_back(world, run, wish, mortal, life):
            break
    assert [name for name, _ in world.service.log[-2:]] == ["release", "cancel"]
    assert (await run.row()).lineage == 1
    assert len(await run.rollbacks()) == 1
