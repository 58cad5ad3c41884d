"""Forks: a new execution from any checkpoint, and an original that stays as it was."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from activities.edits import read_edits
from activities.forks import By, Fork, fork
from activities.position import load_position
from models.tables import Agent, Checkpoint, Execution
from models.wire import Step
from omium_core.errors import InvalidInput
from tests.steering.world import Run, World


async def forked(world: World, run: Run, checkpoint: UUID | None, by: By | None = None, **edits: Any) -> Fork:
    async with world.database.transaction(world.tenant) as session:
        source = await session.get_one(Execution, run.id)
        at = await session.get_one(Checkpoint, checkpoint) if checkpoint else None
        return await fork(session, world.values, source, at, edits=read_edits(edits), by=by)


async def whole(run: Run) -> list[Any]:
    return [await run.row(), *await run.rows(Checkpoint), *await run.rows(Agent)]


async def test_fork_goes_on_from_its_checkpoint(world: World) -> None:
    run = await world.new_run(meta={"team": "a"})
    await run.step(0)
    second = await run.step(1, next_step="write")
    await run.step(2, next_step=None)
    before = await whole(run)
    made = await forked(world, run, second, By("manual"), prompts={"write": "Sing."}, inputs={"topic": "rum"})
    assert await whole(run) == before
    new = Run(world, made.execution.id)
    row = await new.row()
    assert (row.status, row.lineage, row.checkpoint_count, row.steps_done) == ("pending", 0, 2, 2)
    assert (row.forked_from, row.forked_from_checkpoint, row.trigger_type) == (run.id, second, "manual")
    assert (row.inputs, row.meta, row.outputs) == ({"topic": "rum"}, {"team": "a"}, None)
    assert (await run.row()).inputs == {"topic": "tea"}
    position = await new.position()
    assert (position.branches[0].step, position.next_index) == (Step(2, "write"), 2)
    definition = json.loads(await world.values.get(str(world.tenant), position.definition))
    assert definition["nodes"][1]["prompt"] == "Sing."
    [base] = await new.checkpoints(0)
    assert (await new.state_of(base))["inputs"] == {"topic": "rum"}
    assert made.lost == []

    await new.step(2)
    assert [c.checkpoint_number for c in await new.checkpoints(0)] == [2, 3]
    # a fork's own beginning is where it left its original
    plan = await new.plan("start")
    assert (plan.checkpoint.number, plan.checkpoint.lineage) == (2, 0)
    assert (await new.roll_back("start")).branches[0].step == Step(2, "write")
    assert (await new.position()).definition == position.definition


async def test_fork_without_edits_shares_the_state(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    made = await forked(world, run, first)
    [base] = await Run(world, made.execution.id).checkpoints(0)
    assert base.checksum == (await run.checkpoints(0))[0].checksum
    assert (await Run(world, made.execution.id).position()).definition == ""


async def test_effects_that_were_undone_are_told_and_block_nothing(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    second = await run.step(1, ("order", {"item": "tea"}))
    await run.roll_back(first)
    made = await forked(world, run, second)
    assert [effect.tool for effect in made.lost] == ["order"]


async def test_fork_of_a_fork_and_of_an_edited_lineage(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.roll_back(first, edits={"prompts": {"plan": "Dream."}})
    [base] = await run.checkpoints(1)
    once = await forked(world, run, base.id)
    [base] = await Run(world, once.execution.id).checkpoints(0)
    twice = await forked(world, Run(world, once.execution.id), base.id, models={"*": "other"})
    async with world.database.transaction(world.tenant) as session:
        blob = (await load_position(session, twice.execution)).definition
    node = json.loads(await world.values.get(str(world.tenant), blob))["nodes"][0]
    assert (node["prompt"], node["model"]) == ("Dream.", "other")


async def test_fork_from_the_end_is_over_at_once(world: World) -> None:
    run = await world.new_run()
    last = await run.step(0, next_step=None)
    made = await forked(world, run, last)
    assert (made.execution.status, made.execution.outputs) == ("completed", {"answer": "of step 0"})


async def test_fork_from_the_beginning_takes_inputs_alone(world: World) -> None:
    run = await world.new_run()
    await run.step(0)
    made = await forked(world, run, None, inputs={"topic": "rum"})
    row = made.execution
    assert (row.status, row.inputs, row.checkpoint_count) == ("pending", {"topic": "rum"}, 0)
    assert (await Run(world, row.id).position()).branches[0].step == Step(0, "plan")
    with pytest.raises(InvalidInput):
        await forked(world, run, None, prompts={"plan": "Dream."})


async def test_edits_that_do_not_fit_leave_nothing(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    with pytest.raises(InvalidInput) as refused:
        await forked(world, run, first, prompts={"nobody": "x"})
    assert [problem.path for problem in refused.value.problems] == ["prompts.nobody"]
