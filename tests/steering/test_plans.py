"""Executing a rollback does what its plan says: over runs of all shapes, rolled back again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.tables import Agent, Approval, Effect, JournalEntry
from tests.steering.world import Run, World
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import add_tenant

#: What a step does: calls of tools, whether a call stays unknown, whether it asks a person, tokens of a model.
CALLS = {
    "order": {"item": "tea"},
    "reserve": {"seat": "B", "row": 3},
    "note": {"text": "x"},
    "mail": {"text": "hi"},
}
STEP = st.tuples(st.lists(st.sampled_from(sorted(CALLS)), max_size=3), st.booleans(), st.integers(0, 3))
#: Some steps, then a rollback to one of the checkpoints there are; and whether a step is in flight at that time.
ROUND = st.tuples(st.lists(STEP, min_size=1, max_size=3), st.integers(0, 100), st.booleans())


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(ROUND, min_size=1, max_size=3))
def test_outcome_is_as_planned(
    loop: asyncio.AbstractEventLoop, postgres: PostgresServer, tmp_path: Path, rounds: list[Any]
) -> None:
    loop.run_until_complete(_check(postgres, tmp_path, rounds))


async def _check(postgres: PostgresServer, folder: Path, rounds: list[Any]) -> None:
    database = database_at(postgres.url, pool_size=2)
    world = World(database, await add_tenant(database), folder)
    try:
        run = await world.new_run()
        for number, (steps, choice, in_flight) in enumerate(rounds):
            await _work(run, steps, in_flight)
            checkpoints = sorted({str(row.id) for row in await run.all_checkpoints()})
            await _roll_back_as_planned(run, checkpoints[choice % len(checkpoints)], f"command {number}")
    finally:
        world.close()
        await database.close()


async def _work(run: Run, steps: list[Any], in_flight: bool) -> None:
    first = (await run.position()).next_index if await run.all_checkpoints() else 0
    for index, (tools, asks, tokens) in enumerate(steps, start=first):
        attempt = await run.begin(index, f"step {index}")
        for tool in tools:
            await run.call(index, tool, CALLS[tool], attempt=attempt)
        await run.ask_model(index, tokens=tokens)
        if asks:
            await run.ask_person(index, status="approved")
        if not in_flight or index < first + len(steps) - 1 or index == 0:
            await run.end(index, f"step {index}", attempt=attempt)


async def _roll_back_as_planned(run: Run, checkpoint: str, command: str) -> None:
    plan = await run.plan(checkpoint)
    assert plan == await run.plan(checkpoint), "looking changes nothing"
    before = {str(effect.id): effect.status for effect in await run.rows(Effect)}
    if plan.blocked:
        assert (await run.roll_back(checkpoint, f"{command} unconfirmed")).code == "ROLLBACK_BLOCKED"
        assert {str(effect.id): effect.status for effect in await run.rows(Effect)} == before
    log_before = len(run.world.service.log)
    outcome = await run.roll_back(checkpoint, command, confirm=plan.blocked, resume=True)
    assert (outcome.error, outcome.lineage) == ("", plan.to_lineage)

    changed = [e for e in await run.rows(Effect) if before[str(e.id)] != e.status]
    assert {str(e.id) for e in changed if e.status == "undone"} == {effect.id for effect in plan.undo}
    assert {str(e.id) for e in changed if e.status == "kept"} == {effect.id for effect in plan.irreversible}
    assert len(changed) == len(plan.undo) + len(plan.irreversible)
    called = [key for _, key in run.world.service.log[log_before:]]
    assert called == [f"undo-{effect.key}" for effect in plan.undo if effect.inverse]

    rollback = (await run.rollbacks())[-1]
    agents = {agent.id: agent for agent in await run.rows(Agent)}
    redone = [(agents[i].lineage, agents[i].step_index) for i in rollback.affected_agents]
    assert sorted(redone) == sorted((step.lineage, step.index) for step in plan.steps)
    fallen = {approval.id for approval in plan.approvals}
    on_path = [a for a in await run.rows(Approval) if str(a.id) not in fallen]
    left = set(redone)
    assert all((a.lineage, a.step_index) not in left for a in on_path)

    entries = [e for e in await run.rows(JournalEntry) if (e.lineage, e.step_index) in left]
    assert plan.spent.tokens == sum(e.input_tokens for e in entries)
    assert (plan.spent.model_calls, plan.spent.cost) == (len(entries), 10 * plan.spent.tokens)
    assert plan.again == plan.spent
    after = await run.plan("last")
    assert (after.undo, after.irreversible, after.steps) == ((), (), ())
    assert {e.id for e in after.lost} == {e.id for e in plan.lost}
