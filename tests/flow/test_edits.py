"""Edits of flows: the definition for all nodes, the state for the one that is concerned."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from activities.adapters.base import Edit, JsonObject
from activities.adapters.flow.definition import DEFINITION
from omium_core.errors import InvalidInput
from tests.flow.support import ONBOARDING, asking_agent, ended, flow_of

INPUTS = {"customer_data": {"name": "Ada", "amount": 50_000}}
KYC = ended("1", kyc_verified=True, kyc_score=0.9)


def begun(node: str, state: JsonObject | None = None) -> JsonObject:
    wrapper = DEFINITION.begin(ONBOARDING, node, INPUTS, {"1": KYC})
    assert wrapper is not None
    return {**wrapper, "state": state}


def graph_state(**values: Any) -> JsonObject:
    given = {"customer_data": INPUTS["customer_data"], "kyc_score": 0.9}
    fields = {**given, "assessment": {}, "summary": "", **values}
    return {"format": 1, "inputs": given, "values": fields, "next": ["summarize"]}


CREDIT = begun("2", graph_state(assessment={"credit_score": 700}))

PROMPTS: list[tuple[str, Any, tuple[Any, ...], Any]] = [
    ("kyc_agent", "Look.", ("flow", 0, "task"), "Look."),
    ("KYC Agent", {"role": "Officer"}, ("agents", 0, "config", "role"), "Officer"),
    ("1", {"task": "Look.", "expected_output": "It"}, ("flow", 0, "expected_output"), "It"),
    ("credit_agent", "Score.", ("agents", 1, "config", "nodes", 0, "prompt"), "Score."),
    ("2", "Score.", ("agents", 1, "config", "nodes", 0, "prompt"), "Score."),
    ("Credit Scoring Agent.assess", {"system": "X"}, ("agents", 1, "config", "nodes", 0, "system"), "X"),
    ("assess", "Score.", ("agents", 1, "config", "nodes", 0, "prompt"), "Score."),
    ("3", "Risks?", ("flow", 2, "task"), "Risks?"),
    (
        "risk_team.critic",
        "Weigh.",
        ("agents", 2, "config", "config", "participants", 1, "config", "system_message"),
        "Weigh.",
    ),
    ("4.editor", "Edit.", ("agents", 3, "config", "agents", 1, "instructions"), "Edit."),
]


@pytest.mark.parametrize(("name", "prompt", "place", "text"), PROMPTS, ids=[name for name, *_ in PROMPTS])
def test_a_prompt_is_edited_whatever_node_is_asked(name: str, prompt: Any, place: tuple[Any, ...], text: str) -> None:
    changed = []
    for wrapper in (KYC, CREDIT, begun("3"), DEFINITION.skipped(ONBOARDING, "4")):
        before = copy.deepcopy((ONBOARDING, wrapper))
        definition, after = DEFINITION.edit(ONBOARDING, wrapper, Edit(prompts={name: prompt}))
        assert (ONBOARDING, wrapper) == before
        assert after["state"] == wrapper["state"]
        changed.append(definition)
    assert changed[0] != ONBOARDING
    assert all(definition == changed[0] for definition in changed)
    there: Any = changed[0]
    for part in place:
        there = there[part]
    assert there == text
    assert DEFINITION.edit_problems(ONBOARDING, Edit(prompts={name: prompt})) == []


def test_what_a_config_holds_for_the_run_stays() -> None:
    flow = flow_of({"agent": "a"}, agents=[asking_agent("a", "Hi")])
    flow["agents"][0]["config"] |= {"checkpoints": [{"name": "x", "step": "ask"}], "recovery_policies": {}}
    wrapper = DEFINITION.begin(flow, "1", {}, {})
    assert wrapper is not None
    config = DEFINITION.edit(flow, wrapper, Edit(prompts={"a": "Ho"}, models={"1": "m"}))[0]["agents"][0]["config"]
    assert config.keys() == flow["agents"][0]["config"].keys()
    assert (config["nodes"][0]["prompt"], config["nodes"][0]["model"]) == ("Ho", "m")


def test_models_of_all_agents_and_of_one() -> None:
    definition, _ = DEFINITION.edit(
        ONBOARDING, KYC, Edit(models={"*": "all", "risk_team": "theirs", "4.editor": "one"})
    )
    text = str(definition)
    assert text.count("'all'") == 3
    assert text.count("'theirs'") == 2
    assert text.count("'one'") == 1


def test_agents_in_an_object_are_edited_too() -> None:
    flow = {**ONBOARDING, "agents": {agent["id"]: agent for agent in copy.deepcopy(ONBOARDING["agents"])}}
    definition, _ = DEFINITION.edit(flow, KYC, Edit(prompts={"assess": "Score."}))
    assert definition["agents"]["credit_agent"]["config"]["nodes"][0]["prompt"] == "Score."


def test_values_go_to_the_node_that_has_them() -> None:
    edit = Edit(values={"kyc_score": 0.2, "2.assessment": {"credit_score": 500}})
    assert DEFINITION.edit_problems(ONBOARDING, edit, [KYC, CREDIT]) == []
    definition, kyc = DEFINITION.edit(ONBOARDING, KYC, edit)
    assert definition == ONBOARDING
    assert kyc == {**KYC, "outputs": {"kyc_verified": True, "kyc_score": 0.2}}
    credit = DEFINITION.edit(ONBOARDING, CREDIT, edit)[1]
    assert credit["state"]["values"]["assessment"] == {"credit_score": 500}
    assert credit["state"]["values"]["kyc_score"] == 0.2
    fresh = DEFINITION.edit(ONBOARDING, begun("2"), edit)[1]
    assert fresh["inputs"]["kyc_score"] == 0.2


def test_a_value_that_nobody_has_is_told_for_all_nodes_together() -> None:
    edit = Edit(values={"kyc_scor": 0.2, "kyc_verified": False, "2.assessment": 3})
    problems = DEFINITION.edit_problems(ONBOARDING, edit, [KYC, CREDIT])
    assert [problem.path for problem in problems] == ["values.2.assessment", "values.kyc_scor"]
    assert "did you mean 'kyc_score'?" in problems[1].message
    with pytest.raises(InvalidInput):
        DEFINITION.edit(ONBOARDING, CREDIT, edit)
    assert DEFINITION.edit(ONBOARDING, KYC, Edit(values={"kyc_scor": 1})) == (ONBOARDING, KYC)


def test_inputs_of_the_run_reach_the_nodes_that_were_given_them() -> None:
    data = {"name": "Bob", "amount": 1}
    edit = Edit(inputs={"customer_data": data})
    credit = DEFINITION.edit(ONBOARDING, CREDIT, edit)[1]
    assert credit["inputs"] == {"customer_data": data, "kyc_score": 0.9}
    assert credit["state"]["values"]["customer_data"] == data
    assert DEFINITION.edit(ONBOARDING, KYC, edit)[1] == KYC
    assert [p.path for p in DEFINITION.edit_problems(ONBOARDING, Edit(inputs={"custmer": 1}))] == ["inputs.custmer"]


WRONG = [
    ("prompts.kyc_agnt", Edit(prompts={"kyc_agnt": "x"})),
    ("prompts.risk_team", Edit(prompts={"risk_team": "x"})),
    ("prompts.letter_writers", Edit(prompts={"letter_writers": "x"})),
    ("prompts.kyc_agent", Edit(prompts={"kyc_agent": "{{ x"})),
    ("prompts.kyc_agent.task", Edit(prompts={"kyc_agent": {"task": ""}})),
    ("prompts.2.sistem", Edit(prompts={"2": {"sistem": "x"}})),
    ("prompts.3.system_message", Edit(prompts={"3": {"system_message": "x"}})),
    ("models.summarize", Edit(models={"summarize": "m"})),
    ("models.2.summarize", Edit(models={"2.summarize": "m"})),
    ("models.assess", Edit(models={"assess": ""})),
    ("models.nobody", Edit(models={"nobody": "m"})),
]


@pytest.mark.parametrize(("path", "edit"), WRONG, ids=[path for path, _ in WRONG])
def test_wrong_edits_are_told_by_path(path: str, edit: Edit) -> None:
    for wrapper in (KYC, CREDIT, begun("3")):
        with pytest.raises(InvalidInput) as refused:
            DEFINITION.edit(ONBOARDING, wrapper, edit)
        assert [problem.path for problem in refused.value.problems] == [path], refused.value.problems
    assert [problem.path for problem in DEFINITION.edit_problems(ONBOARDING, edit, [KYC, CREDIT])] == [path]
    assert [problem.path for problem in DEFINITION.edit_problems(ONBOARDING, edit)] == [path]


def test_a_name_that_several_agents_have_has_to_be_qualified() -> None:
    flow = flow_of({"agent": "a"}, {"agent": "b"}, agents=[asking_agent("a", "Hi"), asking_agent("b", "Ho")])
    with pytest.raises(InvalidInput) as refused:
        DEFINITION.edit(flow, ended("1"), Edit(prompts={"ask": "x"}))
    (problem,) = refused.value.problems
    assert (problem.path, problem.message) == ("prompts.ask", "Several agents have a 'ask': name one of a.ask, b.ask.")


def test_a_view_and_the_values_of_a_wrapper() -> None:
    assert DEFINITION.values(CREDIT)["assessment"] == {"credit_score": 700}
    assert DEFINITION.values(KYC) == {"kyc_verified": True, "kyc_score": 0.9}
    assert DEFINITION.values(begun("2")) == begun("2")["inputs"]
    assert DEFINITION.view(CREDIT)["state"]["next"] == ["summarize"]
    assert DEFINITION.view(begun("2"))["state"] is None
    assert DEFINITION.units(ONBOARDING, CREDIT) == ("2", "Credit Scoring Agent", "credit_agent", "summarize")
    assert DEFINITION.units(ONBOARDING, KYC) == ()
    assert {"1", "KYC Agent", "kyc_agent", "assess", "analyst", "editor"} <= DEFINITION.unit_names(ONBOARDING)
