"""What a run does next, and what is told of it."""

from __future__ import annotations

import pytest

from models.wire import Branch, CheckpointRef, FlowNode, Question, RunInput, RunLimits, Step
from workflows import plan


def run(**changes: object) -> RunInput:
    given = {
        "tenant_id": "t",
        "execution_id": "e",
        "version_id": "v",
        "framework": "langgraph",
        "title": "title",
        "first_step": "plan",
        **changes,
    }
    return RunInput(**given)  # type: ignore[arg-type]


DIAMOND = [
    FlowNode("a", "crewai", first_step="plan"),
    FlowNode("b", "langgraph", depends_on=["a"]),
    FlowNode("c", "autogen", depends_on=["a"]),
    FlowNode("d", "crewai", depends_on=["b", "c"]),
]


def statuses(branches: plan.Branches) -> list[str]:
    return [branch.status for branch in branches.values()]


def test_new_run_begins_with_its_first_step() -> None:
    assert plan.first_branches(run()) == {"": Branch("langgraph", step=Step(0, "plan"))}


def test_run_after_a_checkpoint_goes_on_with_what_comes_next() -> None:
    branches = plan.first_branches(run(steps_done=3, next_step=Step(3, "write"), checkpoint=CheckpointRef("id", 3)))
    assert branches[""].step == Step(3, "write")
    assert branches[""].checkpoint.id == "id"


def test_flow_begins_with_the_nodes_that_wait_for_none() -> None:
    branches = plan.first_branches(run(flow=DIAMOND))
    assert statuses(branches) == ["ready", "blocked", "blocked", "blocked"]
    assert branches["a"].step == Step(0, "plan")


def test_join_waits_for_all_branches_and_takes_skipped_ones_as_ended() -> None:
    branches = plan.first_branches(run(flow=DIAMOND))
    branches["a"].status = "done"
    plan.unblock(DIAMOND, branches)
    assert statuses(branches) == ["done", "ready", "ready", "blocked"]
    branches["b"].status = "skipped"
    plan.unblock(DIAMOND, branches)
    assert branches["d"].status == "blocked"
    branches["c"].status = "done"
    plan.unblock(DIAMOND, branches)
    assert branches["d"].status == "ready"
    assert not plan.is_over(branches)
    branches["d"].status = "skipped"
    assert plan.is_over(branches)


def test_flow_goes_on_where_its_branches_stand() -> None:
    done = Branch("crewai", "a", status="done", checkpoint=CheckpointRef("id", 1, "blob"))
    branches = plan.first_branches(run(flow=DIAMOND, branches=[done]))
    assert statuses(branches) == ["done", "ready", "ready", "blocked"]


def test_node_is_given_what_all_nodes_before_it_left() -> None:
    branches = plan.first_branches(run(flow=DIAMOND))
    for name in "abc":
        branches[name].status, branches[name].checkpoint = "done", CheckpointRef(name, 1, f"blob-{name}")
    branches["b"].status = "skipped"
    assert plan.sources(DIAMOND, branches, "d") == {"a": "blob-a", "c": "blob-c"}
    assert plan.sources(DIAMOND, branches, "a") == {}


def test_waits_for_people_only_when_nothing_else_can_be_done() -> None:
    branches = plan.first_branches(run(flow=DIAMOND))
    branches["a"].status = "done"
    branches["b"].status, branches["b"].questions = "waiting", [Question("approval")]
    plan.unblock(DIAMOND, branches)
    assert plan.waits_for(branches) == ""
    branches["c"].status = "waiting"
    assert plan.waits_for(branches) == "approval"
    branches["b"].status = "done"
    assert plan.waits_for(branches) == "consensus"


@pytest.mark.parametrize(("index", "beyond"), [(0, False), (4, False), (5, True), (6, True)])
def test_bound_counts_steps(index: int, beyond: bool) -> None:
    assert plan.beyond_bound(run(limits=RunLimits(max_steps=5)), Step(index, "again")) is beyond


def test_details_of_a_crew_tell_how_many_steps_there_are() -> None:
    totals = {"model_calls": 3, "tool_calls": 1, "tokens": 250}
    told = plan.details(run(planned_steps=4), "running", "", ["write"], 1, totals, 0)
    assert told.startswith("## running")
    assert "1 of 4 steps done, now **write**" in told
    assert "3 model calls, 1 tool calls, 250 tokens" in told


def test_details_of_a_graph_do_not_guess() -> None:
    totals = {"model_calls": 0, "tool_calls": 0, "tokens": 0}
    told = plan.details(run(), "completed", "", [], 7, totals, 0)
    assert "7 steps done, no step is running" in told
