"""Runs of parallel branches: where they stand, and how they go back together."""

from __future__ import annotations

import json
from typing import Any

from models.wire import FlowNode, Step
from tests.steering.world import DEFINITION, Run, World

FLOW = [
    FlowNode("a", "langgraph", first_step="plan"),
    FlowNode("b", "langgraph", first_step="plan", depends_on=["a"]),
    FlowNode("c", "langgraph", first_step="plan", depends_on=["a"]),
    FlowNode("d", "langgraph", first_step="plan", depends_on=["b", "c"]),
]
AGENTS = [{"id": f"agent_{node.id}", "framework": "langgraph", "config": DEFINITION} for node in FLOW]
STEPS = [
    {"step": node.id, "agent": f"agent_{node.id}", "depends_on": node.depends_on, "inputs": ["topic"]} for node in FLOW
]
FLOW_DEFINITION: dict[str, Any] = {"agents": AGENTS, "flow": STEPS}


async def new_flow(world: World) -> Run:
    """`a` is done, `b` has done two steps and `c` one, and both are in their next ones; effects of all but `a` stand."""
    run = await world.new_run(flow=FLOW, definition=FLOW_DEFINITION)
    await run.step(0, branch="a", next_step=None)
    await run.step(1, ("order", {"item": "b1"}), branch="b", next_step="write")
    await run.step(2, ("order", {"item": "c1"}), branch="c", next_step="write")
    await run.step(3, ("order", {"item": "b2"}), branch="b", next_step="more")
    for index, branch in ((4, "c"), (5, "b")):
        attempt = await run.begin(index, branch=branch)
        await run.call(index, "order", {"item": f"{branch}-in-flight"}, attempt=attempt)
    return run


def standing(branches: list[Any]) -> dict[str, Any]:
    return {branch.node: (branch.status, branch.step, branch.checkpoint.number) for branch in branches}


async def test_where_a_flow_stands(world: World) -> None:
    run = await new_flow(world)
    position = await run.position()
    assert standing(position.branches) == {
        "a": ("done", None, 1),
        "b": ("ready", Step(5, "more"), 4),
        "c": ("ready", Step(4, "write"), 3),
        "d": ("blocked", Step(0, "plan"), 0),
    }
    assert [branch.begun for branch in position.branches] == [False, True, True, False]
    assert position.next_index == 6


async def test_all_branches_go_back_to_one_moment(world: World) -> None:
    run = await new_flow(world)
    outcome = await run.roll_back("2", framework="flow", resume=True)
    assert outcome.error == ""
    assert standing(outcome.branches) == {
        "a": ("done", None, 1),
        "b": ("ready", Step(2, "write"), 2),
        # its first step had not ended then
        "c": ("ready", Step(0, "plan"), 0),
        "d": ("blocked", Step(0, "plan"), 0),
    }
    assert (outcome.next_index, outcome.steps_done) == (2, 2)
    assert world.service.look() == ["b1"]
    bases = {base.branch: (base.checkpoint_number, base.step_index) for base in await run.checkpoints(1)}
    assert bases == {"a": (1, 0), "b": (2, 1)}

    await run.step(2, branch="c", next_step="write")
    await run.step(3, branch="b", next_step="more")
    # a base of a lineage stands for the moment at which the lineage began, whatever its own number
    [of_a, _, *_] = await run.checkpoints(1)
    again = await run.roll_back(of_a.id, "c2", framework="flow", resume=True)
    assert standing(again.branches)["b"] == ("ready", Step(2, "write"), 2)
    # a number is looked for on the way to where the run stands
    plan = await run.plan("1")
    assert (plan.checkpoint.lineage, plan.checkpoint.number) == (0, 1)
    first = await run.roll_back("1", "c3", framework="flow")
    assert {name: status for name, (status, *_) in standing(first.branches).items()} == {
        "a": "done",
        "b": "ready",
        "c": "ready",
        "d": "blocked",
    }
    assert world.service.look() == []


async def test_back_to_the_beginning_of_a_flow(world: World) -> None:
    run = await new_flow(world)
    outcome = await run.roll_back("start", framework="flow", edits={"prompts": {"agent_b.plan": "Dream."}})
    assert outcome.error == ""
    assert {name: status for name, (status, *_) in standing(outcome.branches).items()} == {
        "a": "ready",
        "b": "blocked",
        "c": "blocked",
        "d": "blocked",
    }
    assert (outcome.next_index, outcome.steps_done, world.service.look()) == (0, 0, [])
    definition = json.loads(await world.values.get(str(world.tenant), outcome.definition))
    assert definition["agents"][1]["config"]["nodes"][0]["prompt"] == "Dream."
    assert await run.roll_back("start", framework="flow", from_lineage=0) == outcome


async def test_an_edit_reaches_the_branch_that_it_concerns(world: World) -> None:
    run = await new_flow(world)
    outcome = await run.roll_back("3", framework="flow", edits={"values": {"b.score": 9}})
    assert outcome.error == ""
    states = {base.branch: (await run.state_of(base))["state"]["values"] for base in await run.checkpoints(1)}
    assert (states["b"]["score"], states["c"]["score"]) == (9, 2)
    assert (await run.roll_back("3", "c2", framework="flow", edits={"values": {"x.y": 1}})).code == "INVALID_INPUT"
