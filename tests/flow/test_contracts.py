"""What is promised of a node: by the flow, by its step, and inside of its agent."""

from __future__ import annotations

from typing import Any

import pytest

from activities import expressions
from activities.adapters.base import JsonObject
from activities.adapters.flow.contracts import NodeContracts
from activities.adapters.flow.definition import DEFINITION
from activities.contracts.broken import ContractBroken
from activities.contracts.evaluation import for_step
from activities.contracts.handoffs import handoff_ask
from tests.flow.support import ended, flow_of


def contracts(definition: JsonObject, node: str, ran: list[str] | None = None) -> NodeContracts:
    assert DEFINITION.validate(definition, tools=None) == []
    return DEFINITION.contracts_for(definition, node, ran)


def paths(entries: Any) -> list[str]:
    return [entry.path for entry in entries]


def test_what_a_step_says_is_split_into_its_start_and_its_end() -> None:
    flow = flow_of(
        {
            "preconditions": ["size(text) > 0"],
            "postconditions": ["out != text", {"expression": "true", "failure_type": "hallucination"}],
            "output_schema": {"type": "object", "required": ["out"]},
            "checkpoints": ["checked"],
            "approval": {"when": "after", "assignee": "ada"},
            "outputs": ["out"],
        }
    )
    found = contracts(flow, "1")
    assert paths(found.start.checkpoints) == ["flow[0]"]
    assert paths(found.end.checkpoints) == ["flow[0]", "flow[0].checkpoints[0]"]
    assert (paths(found.start.approvals), paths(found.end.approvals)) == ([], ["flow[0].approval"])
    assert not found.steps
    end = for_step(found.end, ("1",))
    assert end.checkpoint_name == "checked"
    before = expressions.scope({"text": "a"}, {"text": "a"})
    for_step(found.start, ("1", "agent1")).check_before(before)
    after: JsonObject = {"text": "a", "out": "b"}
    end.check_after(before, expressions.scope(after, {}, {"1": {"out": "b"}}))
    with pytest.raises(ContractBroken) as broken:
        end.check_after(before, expressions.scope({**after, "out": "a"}, {}, {"1": {}}))
    assert [one.path for one in broken.value.broken] == ["flow[0].output_schema", "flow[0].postconditions[0]"]


def test_a_step_names_checkpoints_of_its_agent_and_of_the_flow() -> None:
    flow = flow_of({"checkpoints": ["ready", "shared"]}, {"checkpoints": ["shared"]})
    flow["agents"][0]["config"]["checkpoints"] = [
        {"name": "ready", "preconditions": ["true"], "postconditions": ["true"]},
        {"name": "inner", "step": "fill", "postconditions": ["true"]},
        {"name": "each", "postconditions": ["true"]},
    ]
    flow["checkpoints"] = [{"name": "shared", "postconditions": ["true"]}, {"step": "2", "preconditions": ["true"]}]
    first, second = contracts(flow, "1"), contracts(flow, "2")
    inside = "agents[0].config.checkpoints"
    assert paths(first.start.checkpoints) == [f"{inside}[0]"]
    assert paths(first.end.checkpoints) == [f"{inside}[0]", "checkpoints[0]"]
    assert paths(first.steps.checkpoints) == [f"{inside}[1]", f"{inside}[2]", "checkpoints[1]"]
    assert paths(second.start.checkpoints) == ["checkpoints[1]"]
    assert paths(second.end.checkpoints) == ["checkpoints[0]", "checkpoints[1]"]
    # what is meant for another node matches none of this one's units
    units = DEFINITION.units(flow, DEFINITION.begin(flow, "1", {}, {}) or {})
    assert units == ("1", "agent1")
    matching = for_step(first.steps, (*units, "fill")).contracts.checkpoints
    assert paths(matching) == [f"{inside}[1]", f"{inside}[2]"]


def test_what_the_flow_says_of_an_agent_counts_once_for_its_node() -> None:
    flow = flow_of({}, {"name": "Second"})
    flow["approvals"] = [{"step": "agent2"}, {"steps": ["Second"], "when": "after", "name": "b"}, {"step": "fill"}, {}]
    flow["handoffs"] = [{"from": "agent1", "to": "Second", "quorum": "all"}, {"to": "fill"}]
    found = contracts(flow, "2")
    assert paths(found.start.approvals) == ["approvals[0]"]
    assert paths(found.end.approvals) == ["approvals[1]"]
    assert paths(found.steps.approvals) == ["approvals[2]", "approvals[3]"]
    assert paths(found.start.handoffs) == ["handoffs[0]"]
    assert paths(found.steps.handoffs) == ["handoffs[1]"]


def ask(flow: JsonObject, node: str, ran: list[str], values: JsonObject) -> Any:
    found = contracts(flow, node, ran)
    units = DEFINITION.units(flow, DEFINITION.begin(flow, node, values, {name: ended(name) for name in ran}) or {})
    step = for_step(found.start + found.steps, units)
    return handoff_ask(found.start + found.steps, step, found.senders, expressions.scope(values, values), "hash")


def test_the_receiving_agent_votes_by_its_preconditions() -> None:
    flow = flow_of({}, {"consensus_required": True, "preconditions": ["score > 1"]})
    for score, accepts in ((2, True), (1, False)):
        asked = ask(flow, "2", ["1"], {"score": score})
        assert (asked.proposal.sender, asked.proposal.receivers) == ("agent1", ["agent2"])
        assert [(vote.voter, vote.accept) for vote in asked.votes] == [("agent2", accepts)]


def test_consensus_says_who_votes_and_how() -> None:
    voters = [{"agent": "agent3"}, {"person": "ada"}, {"service": "audit"}]
    flow = flow_of(
        {"depends_on": []},
        {"depends_on": []},
        {"depends_on": [1, 2], "consensus": {"voters": voters, "quorum": 2, "timeout_s": 5, "max_terms": 1}},
    )
    asked = ask(flow, "3", ["1", "2"], {})
    assert [voter.kind for voter in asked.proposal.voters] == ["agent", "person", "service"]
    assert (asked.proposal.quorum, asked.proposal.term_seconds, asked.proposal.max_terms) == (2, 5, 1)
    assert ask(flow, "3", ["2"], {}).proposal.sender == "agent2"
    flow["flow"][2]["consensus_required"] = False
    assert ask(flow, "3", ["1", "2"], {}) is None


def test_nobody_hands_over_to_the_first_step() -> None:
    assert ask(flow_of({"consensus_required": True}), "1", [], {}) is None


def test_an_approval_may_be_a_mere_yes() -> None:
    flow = flow_of({"approval": True}, {"approval": False})
    (wish,) = for_step(contracts(flow, "1").start, ("1", "agent1")).approvals("before", expressions.scope({}, {}))
    assert wish.question == {"step": "1"}
    assert not contracts(flow, "2").start


def test_recovery_policies_of_agents_are_told_by_their_ids() -> None:
    flow = flow_of({}, {})
    flow["agents"][1]["config"]["recovery_policies"] = {"on_failure": "rollback", "max_retries": 3, "timeout_ms": 30000}
    assert DEFINITION.validate(flow, tools=None) == []
    assert DEFINITION.agent_policies(flow) == {"agent2": flow["agents"][1]["config"]["recovery_policies"]}
    assert "recovery_policies" not in DEFINITION.agent_of(flow, "2")[1]


def test_votes_and_ways_of_a_conversation_are_told_apart() -> None:
    flow = flow_of({})
    people = [{"name": name, "instructions": "Talk."} for name in ("a", "b")]
    config: JsonObject = {"agents": people, "handoffs": [{"from": "a", "to": "b"}]}
    flow["agents"][0] |= {"framework": "semantic_kernel", "config": config}
    assert [problem.path for problem in DEFINITION.validate(flow, tools=None)] == ["agents[0].config.handoffs"]
    config["orchestration"] = "sequential"
    assert DEFINITION.validate(flow, tools=None) == []
    # a map is Semantic Kernel's own: who may hand over to whom
    config |= {"orchestration": "handoff", "handoffs": {"a": ["b"]}}
    assert DEFINITION.validate(flow, tools=None) == []
