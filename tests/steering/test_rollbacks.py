"""What a rollback does to a run: effects, lineages, steps, questions, edits."""

from __future__ import annotations

import asyncio
import json

import pytest

from models.tables import Agent, Approval, Checkpoint, Effect
from models.wire import CheckpointRef, Step
from tests.steering.world import World

TEA, CAKE = {"item": "tea"}, {"item": "cake"}


async def test_what_came_after_the_checkpoint_is_undone_newest_first(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0, ("order", TEA))
    await run.step(1, ("order", CAKE), ("reserve", {"seat": "A", "row": 7}))
    await run.step(2, ("note", {"text": "x"}), next_step=None)
    assert (await run.row()).status == "completed"

    plan = await run.plan(first)
    assert [(e.tool, e.inverse, e.step) for e in plan.undo] == [
        ("note", None, "step 2"),
        ("reserve", "reserve.undo", "step 1"),
        ("order", "cancel", "step 1"),
    ]
    outcome = await run.roll_back(first)
    assert outcome.error == ""
    keys = list(await run.effects())
    assert world.service.log[-2:] == [("release", f"undo-{keys[2]}"), ("cancel", f"undo-{keys[1]}")]
    assert list((await run.effects()).values()) == ["done", "undone", "undone", "undone"]
    assert world.service.look() == ["tea"]


async def test_the_run_stands_in_a_new_lineage(world: World) -> None:
    run = await world.new_run()
    await run.step(0)
    second = await run.step(1, next_step="write")
    await run.step(2)
    await run.begin(3)
    outcome = await run.roll_back("2", reason="wrong", actor="ann")

    [base] = await run.checkpoints(1)
    assert (base.kind, base.checkpoint_number, base.step_index, base.next_step) == ("base", 2, 1, "write")
    branch = outcome.branches[0]
    assert (outcome.lineage, outcome.next_index, outcome.steps_done) == (1, 2, 2)
    assert (branch.status, branch.step) == ("ready", Step(2, "write"))
    assert branch.checkpoint == CheckpointRef(str(base.id), 2, base.checksum, base.state_size_bytes)
    row = await run.row()
    assert (row.status, row.lineage, row.checkpoint_count, row.steps_done, row.reason) == ("rolled_back", 1, 2, 2, None)
    assert await run.agents() == [
        (0, 0, "completed"),
        (0, 1, "completed"),
        (0, 2, "rolled_back"),
        (0, 3, "rolled_back"),
    ]
    [rollback] = await run.rollbacks()
    left = [agent.id for agent in await run.rows(Agent) if agent.step_index >= 2]
    assert sorted(rollback.affected_agents) == sorted(left)
    assert (rollback.to_checkpoint_id, rollback.status, rollback.rollback_success) == (second, "completed", True)
    assert (rollback.trigger_reason, rollback.from_lineage, rollback.to_lineage) == ("wrong", 0, 1)
    events = await run.events()
    assert [e for e in events if "roll" in e] == ["rollback.started", "execution.rolled_back"]

    await run.go_on()
    await run.step(2, next_step=None)
    [_, made] = await run.checkpoints(1)
    assert (made.checkpoint_number, made.step_index) == (3, 2)


async def test_a_run_that_goes_on_at_once_is_running(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.step(1, next_step=None)
    await run.roll_back(first, resume=True)
    row = await run.row()
    assert (row.status, row.completed_at, row.outputs) == ("running", None, None)


async def test_what_cannot_be_undone_blocks_unless_confirmed(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.step(1, ("order", TEA), ("mail", {"text": "hi"}))
    attempts = [agent.attempt for agent in await run.rows(Agent)]
    plan = await run.plan(first)
    assert plan.blocked
    assert [e.tool for e in plan.irreversible] == ["mail"]

    outcome = await run.roll_back(first)
    assert (outcome.code, outcome.error) == ("ROLLBACK_BLOCKED", plan.reason)
    assert "mail (step step 1)" in plan.reason
    assert [agent.attempt for agent in await run.rows(Agent)] == attempts
    assert (await run.rollbacks(), list((await run.effects()).values())) == ([], ["done", "done"])

    assert (await run.roll_back(first, "c2", confirm=True)).error == ""
    assert list((await run.effects()).values()) == ["undone", "kept"]


@pytest.mark.parametrize("happened", [True, False])
async def test_outcome_that_nobody_knows_is_learned_with_the_same_key(world: World, happened: bool) -> None:
    run = await world.new_run()
    first = await run.step(0)
    attempt = await run.begin(1)
    key = await run.call(1, "order", TEA, attempt=attempt, settle=False, make=happened)
    assert (await run.plan(first)).undo[0].status == "pending"
    await run.roll_back(first)
    assert world.service.log == [("order", key), ("cancel", f"undo-{key}")]
    assert world.service.calls[key] == (2 if happened else 1)
    assert world.service.look() == []


async def test_live_worker_may_still_tell_what_came_of_its_call(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    attempt = await run.begin(1)
    key = await run.call(1, "order", TEA, attempt=attempt, settle=False)
    assert key is not None
    rolling = asyncio.create_task(run.roll_back(first))
    await run.wait_for_rollback()
    await run.settle(key, "done", {"order_id": next(iter(world.service.orders))})
    await rolling
    assert world.service.calls == {key: 1, f"undo-{key}": 1}


async def test_call_that_is_refused_leaves_nothing_to_undo(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    attempt = await run.begin(1)
    await run.call(1, "order", TEA, attempt=attempt, settle=False, make=False)
    world.service.broken.add("order")
    assert (await run.roll_back(first)).error == ""
    [effect] = await run.rows(Effect)
    assert (effect.status, effect.error) == ("failed", "order is out of order")
    assert world.service.log == []


async def test_inverse_that_fails_ends_the_rollback_and_the_run_stays(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.step(1, ("order", TEA), ("reserve", {"seat": "A", "row": 1}))
    attempt = await run.begin(2)
    world.service.broken.add("cancel")
    outcome = await run.roll_back(first)
    assert (outcome.code, outcome.error) == ("ROLLBACK_FAILED", "The effect of order (step 1) could not be undone.")
    [rollback] = await run.rollbacks()
    assert (rollback.status, rollback.rollback_success) == ("failed", False)
    assert "cancel is out of order" in (rollback.error or "")
    row = await run.row()
    assert (row.lineage, row.status, row.reason) == (0, "running", None)
    assert list((await run.effects()).values()) == ["undoing", "undone"]
    # the command was answered; its answer stays
    assert await run.roll_back(first) == outcome
    # and the step that was fenced off begins again
    assert await run.begin(2) == attempt + 2

    world.service.broken.clear()
    assert (await run.roll_back(first, "c2")).error == ""
    assert list((await run.effects()).values()) == ["undone", "undone"]
    assert len(world.service.done("cancel")) == len(world.service.done("release")) == 1


async def test_processes_that_were_lost_can_do_nothing_more(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    attempt = await run.begin(1)
    world.service.broken.add("order")
    await run.call(1, "order", TEA, attempt=attempt, make=False, settle=False)
    rolling = asyncio.create_task(run.roll_back(first))
    await run.wait_for_rollback()
    assert await run.call(1, "note", {"text": "late"}, attempt=attempt) is None
    # not even an attempt that is opened while the rollback is under way
    if (await run.row()).lineage == 0:
        late = await run.begin(1)
        assert await run.call(1, "note", {"text": "late"}, attempt=late) is None
    await rolling
    assert await run.end(1, attempt=attempt) is None
    assert world.service.done("note") == []


async def test_questions_votes_and_failures_behind_the_checkpoint_are_closed(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.ask_person(0, status="approved")
    answered = await run.ask_person(1, status="approved")
    await run.step(1)
    await run.begin(2)
    asked = await run.ask_person(2)
    plan = await run.plan(first)
    assert [approval.id for approval in plan.approvals] == [str(answered), str(asked)]
    await run.roll_back(first)
    assert [approval.status for approval in await run.rows(Approval)] == ["approved", "approved", "cancelled"]


async def test_edits_change_what_comes_next(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0, next_step="write")
    edits = {"prompts": {"write": "Sing."}, "append_prompts": {"plan": "In verse."}, "values": {"score": 9}}
    outcome = await run.roll_back(first, edits={**edits, "inputs": {"topic": "rum"}})
    assert outcome.error == ""
    definition = json.loads(await world.values.get(str(world.tenant), outcome.definition))
    assert [node["prompt"] for node in definition["nodes"]] == ["Plan {{ topic }}.\n\nIn verse.", "Sing."]
    [base] = await run.checkpoints(1)
    state = await run.state_of(base)
    assert (state["values"]["score"], state["inputs"]) == (9, {"topic": "rum"})
    assert (await run.row()).inputs == {"topic": "rum"}
    # the first lineage keeps what it had
    back = await run.roll_back(first, "c2")
    assert (back.definition, (await run.row()).inputs) == ("", {"topic": "tea"})
    [base] = await run.checkpoints(2)
    assert (await run.state_of(base))["values"]["score"] == 0
    assert (await run.position()).definition == ""


async def test_edits_that_do_not_fit_are_told_before_anything_is_done(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.step(1, ("order", TEA))
    for edits in ({"prompts": {"nobody": "x"}}, {"values": {"score": "high"}}, {"colour": "red"}):
        outcome = await run.roll_back(first, edits=edits)
        assert outcome.code == "INVALID_INPUT"
        part, name = next(iter(edits.items()))
        assert (next(iter(name)) if isinstance(name, dict) else part) in outcome.error
    assert (await run.rollbacks(), world.service.look()) == ([], ["tea"])


async def test_command_that_comes_again_changes_nothing(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    await run.step(1, ("order", TEA))
    outcome = await run.roll_back(first)
    assert await run.roll_back(first, from_lineage=0) == outcome
    assert len(await run.rollbacks()) == 1
    # long after, when the run has gone on, it is told where the run stands
    await run.roll_back(first, "c2", resume=True)
    await run.step(1)
    late = await run.roll_back(first)
    assert (late.error, late.lineage, late.branches[0].step) == ("", 2, Step(2, "next"))


async def test_from_an_abandoned_lineage_and_back(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    second = await run.step(1, ("order", TEA), ("note", {"text": "x"}))
    await run.step(2, next_step=None)
    await run.roll_back(first, resume=True)
    await run.step(1, ("order", CAKE), next_step=None)
    plan = await run.plan(second)
    assert [(e.tool, e.lineage) for e in plan.lost] == [("order", 0)]
    assert [(e.tool, e.lineage) for e in plan.undo] == [("order", 1)]
    assert [(step.lineage, step.index) for step in plan.steps] == [(1, 1)]
    outcome = await run.roll_back(second, "c2")
    assert (outcome.lineage, outcome.next_index) == (2, 2)
    assert await run.agents() == [
        (0, 0, "completed"),
        (0, 1, "completed"),
        (0, 2, "rolled_back"),
        (1, 1, "rolled_back"),
    ]
    numbers = {lineage: [c.checkpoint_number for c in await run.checkpoints(lineage)] for lineage in range(3)}
    assert numbers == {0: [1, 2, 3], 1: [1, 2], 2: [2]}
    rows = await run.lineages()
    assert [(row.lineage, row.parent_lineage, row.parent_number) for row in rows] == [(1, 0, 1), (2, 0, 2)]


async def test_back_to_the_end_of_a_run_gives_its_outputs_again(world: World) -> None:
    run = await world.new_run()
    first = await run.step(0)
    last = await run.step(1, next_step=None)
    await run.roll_back(first, resume=True)
    await run.step(1)
    outcome = await run.roll_back(last, "c2", resume=True)
    row = await run.row()
    assert (row.status, row.outputs) == ("completed", {"answer": "of step 1"})
    assert outcome.branches[0].status == "done"


async def test_back_to_the_beginning(world: World) -> None:
    run = await world.new_run()
    await run.step(0, ("order", TEA))
    await run.step(1)
    outcome = await run.roll_back("start", edits={"prompts": {"plan": "Dream."}, "inputs": {"topic": "rum"}})
    assert outcome.error == ""
    assert (outcome.lineage, outcome.next_index, outcome.steps_done) == (1, 0, 0)
    branch = outcome.branches[0]
    assert branch.step == Step(0, "plan")
    state = await world.values.get(str(world.tenant), branch.checkpoint.blob)
    assert state["inputs"] == {"topic": "rum"}
    assert world.service.look() == []
    await run.go_on()
    await run.step(0)
    assert (await run.row()).checkpoint_count == 1
    # before the first checkpoint of a run there is only its beginning
    assert (await run.roll_back("last-5", "c2")).next_index == 0


async def test_before_the_first_checkpoint_the_last_one_is_the_beginning(world: World) -> None:
    run = await world.new_run()
    await run.begin(0)
    await run.call(0, "order", TEA)
    outcome = await run.roll_back("last", resume=True)
    assert (outcome.error, outcome.next_index, world.service.look()) == ("", 0, [])


async def test_names_and_numbers_mean_what_is_on_the_way(world: World) -> None:
    run = await world.new_run()
    for index in range(4):
        await run.step(index)
    await run.roll_back("2", resume=True)
    await run.step(2, name="other")
    numbers = {}
    for reference in ("last", "last-1", "3", "3-2", "step_3_other", "step_4_step 3", "step_1_step 0", "2"):
        plan = await run.plan(reference)
        numbers[reference] = (plan.checkpoint.lineage, plan.checkpoint.number)
    assert numbers == {
        "last": (1, 3),
        "last-1": (1, 2),
        "3": (1, 3),
        "3-2": (0, 1),
        "step_3_other": (1, 3),
        "step_4_step 3": (0, 4),
        "step_1_step 0": (0, 1),
        "2": (1, 2),
    }
    for unknown in ("4", "nothing", "nothing-1", "00000000-0000-0000-0000-000000000000"):
        assert (await run.roll_back(unknown, "c9")).code == "CHECKPOINT_NOT_FOUND"


async def test_state_that_was_given_a_name_is_taken_as_it_was_named(world: World) -> None:
    run = await world.new_run()
    await run.step(0, next_step="write")
    [step] = await run.checkpoints(0)
    other = await world.values.put(str(world.tenant), {**run.state(0), "values": {"score": 77}})
    named = Checkpoint(
        **step.model_dump(exclude={"id", "kind", "checkpoint_name", "checksum"}),
        kind="named",
        checkpoint_name="approved by ann",
        checksum=other.key,
    )
    await world.write(named)
    await run.step(1)
    outcome = await run.roll_back("approved by ann")
    assert outcome.branches[0].checkpoint.blob == other.key
    assert outcome.branches[0].step == Step(1, "write")
    assert (await run.row()).current_checkpoint == "approved by ann"


async def test_planned_steps_are_planned_again(world: World) -> None:
    run = await world.new_run(planned_steps=3)
    for index in range(3):
        await world.write(
            Agent(
                tenant_id=world.tenant, execution_id=run.id, step_index=index, name=f"t{index}", framework="langgraph"
            )
        )
    first = await run.step(0, next_step="t1")
    await run.end(1, next_step="t2")
    await run.roll_back(first)
    assert await run.agents() == [
        (0, 0, "completed"),
        (0, 1, "rolled_back"),
        (0, 2, "rolled_back"),
        (1, 1, "pending"),
        (1, 2, "pending"),
    ]
    assert (await run.position()).next_index == 1
