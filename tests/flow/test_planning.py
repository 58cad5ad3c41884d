"""Which node waits for which, and what is wrong with flows."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.adapters.base import JsonObject
from activities.adapters.flow.definition import DEFINITION
from tests.flow.support import ONBOARDING, asking_agent, flow_of, template_agent


def dependencies(definition: JsonObject) -> dict[str, list[str]]:
    assert DEFINITION.validate(definition, tools=None) == []
    return {node.id: node.depends_on for node in DEFINITION.nodes(definition)}


def test_without_depends_on_each_step_waits_for_the_one_before() -> None:
    assert dependencies(flow_of({}, {"step": "b"}, {"step": 7})) == {"1": [], "b": ["1"], "7": ["b"]}


def test_with_a_depends_on_anywhere_only_what_is_said_counts() -> None:
    flow = flow_of({"step": 1}, {"step": 2}, {"step": 3, "depends_on": [2, 1]}, {"step": 4, "depends_on": 3})
    assert dependencies(flow) == {"1": [], "2": [], "3": ["1", "2"], "4": ["3"]}
    flow["flow"][2]["depends_on"] = []
    assert dependencies(flow) == {"1": [], "2": [], "3": [], "4": ["3"]}


@pytest.mark.parametrize(
    "use",
    [
        {"inputs": ["b"]},
        {"inputs": {"x": "b[0].c"}},
        {"inputs": ["steps.2.raw"]},
        {"inputs": [], "when": "size(b) > 0"},
        {"task": "Look at {{ b }}."},
    ],
)
def test_a_step_waits_for_what_it_uses(use: JsonObject) -> None:
    flow = flow_of({"depends_on": []}, {"outputs": ["b"]}, use)
    assert dependencies(flow) == {"1": [], "2": [], "3": ["2"]}


def test_what_only_later_steps_make_is_an_input_of_the_run() -> None:
    flow = flow_of({"inputs": ["text"], "outputs": ["text"]}, {"inputs": ["text"], "outputs": ["text"]})
    assert dependencies(flow) == {"1": [], "2": ["1"]}
    assert [p.path for p in DEFINITION.validate_inputs(flow, {})] == ["text"]
    assert DEFINITION.validate_inputs(flow, {"text": "a"}) == []


def test_a_maker_that_is_waited_for_anyway_is_enough() -> None:
    flow = flow_of(
        {"outputs": ["a"], "depends_on": []}, {"outputs": ["a"], "depends_on": []}, {"inputs": ["a"], "depends_on": [1]}
    )
    assert dependencies(flow)["3"] == ["1"]


def test_agents_may_be_an_object_by_id() -> None:
    flow = flow_of({}, {})
    keyed = {agent.pop("id"): agent for agent in copy.deepcopy(flow["agents"])}
    assert dependencies({**flow, "agents": keyed}) == dependencies(flow)


def test_nodes_tell_framework_name_and_first_step() -> None:
    nodes = DEFINITION.nodes(ONBOARDING)
    assert [(node.id, node.framework, node.name, node.first_step) for node in nodes] == [
        ("1", "crewai", "1 · KYC Agent", "KYC Agent · kyc_agent"),
        ("2", "langgraph", "2 · Credit Scoring Agent", "assess"),
        ("3", "autogen", "3 · Risk Team", "turn 1 · analyst"),
        ("4", "semantic_kernel", "4 · Letter Writers", "writer"),
    ]
    assert DEFINITION.plan(ONBOARDING, {}).open_ended


def test_a_flow_whose_steps_are_known_has_a_plan() -> None:
    crew = {"framework": "crewai", "config": {"role": "Clerk", "goal": "Help", "backstory": "Old"}}
    flow = {
        "agents": [{"id": "a", **crew}, {"id": "b", **crew}, {"id": "idle", "name": "Idle", **crew}],
        "flow": [{"agent": "b", "depends_on": ["second"], "name": "Last"}, {"step": "second", "agent": "a"}],
    }
    assert DEFINITION.validate(flow, tools=None) == []
    plan = DEFINITION.plan(flow, {})
    assert plan.steps == ("a · a", "Last · b")
    assert not plan.open_ended
    assert plan.agents == ("a", "b", "Idle")
    assert plan.warnings == ("agents[2]: No step uses the agent 'idle'.",)


def changed(path: str, value: Any) -> JsonObject:
    """The example with another value at a place, or without it where the value is `...`."""
    definition: Any = copy.deepcopy(ONBOARDING)
    place = definition
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return definition


WRONG = [
    ("agents", "agents", []),
    ("flow", "flow", []),
    ("floww", "floww", []),
    ("flow[1].agent", "flow.1.agent", "credit_agnt"),
    ("flow[1].depends_on[0]", "flow.1.depends_on", [9]),
    ("flow[1].depends_on[0]", "flow.1.depends_on", [2]),
    ("flow[1].depends_on", "flow.1.depends_on", 9),
    ("flow", "flow.0.depends_on", [4]),
    ("flow[1].step", "flow.1.step", 1),
    ("flow[1].step", "flow.1.step", "a.b"),
    ("flow[1].step", "flow.1.step", True),
    ("flow[1].when", "flow.1.when", "kyc_verified &&"),
    ("flow[0].task", "flow.0.task", "{{ customer_data"),
    ("flow[1].inputs[0]", "flow.1.inputs", ["customer_data..name", "kyc_score"]),
    ("flow[1].inputs[1]", "flow.1.inputs", ["customer_data", "kyc_score.customer_data"]),
    ("flow[1].inputs.a", "flow.1.inputs", {"a": {"from": "kyc_score", "value": 1}}),
    ("flow[1].inputs.a", "flow.1.inputs", {"a": {"default": 1}}),
    ("flow[1].inputs[0]", "flow.1.inputs", ["steps.4.raw"]),
    ("flow[1].inputs[0]", "flow.1.inputs", ["steps.five.raw"]),
    ("flow[2].inputs.task", "flow.2.inputs", {"task": "kyc_score"}),
    ("flow[1].outputs[0]", "flow.1.outputs", ["steps"]),
    ("flow[1].outputs.x", "flow.1.outputs", {"x": "a[b"}),
    ("flow[1].outputs.inputs", "flow.1.outputs", {"inputs": "a"}),
    ("agents[1].framework", "agents.1.framework", "langraph"),
    ("agents[1].id", "agents.1.id", "kyc_agent"),
    ("agents[0].config", "agents.0.config", ...),
    ("agents[0].config.goal", "agents.0.config.goal", ...),
    ("agents[0].config.rolle", "agents.0.config.rolle", "x"),
    ("agents[1].config.nodes[0].prompt", "agents.1.config.nodes.0.prompt", ...),
    ("agents[2].config.config.participants", "agents.2.config.config.participants", []),
    ("flow[1].preconditions[0]", "flow.1.preconditions", ["kyc_score >"]),
    ("flow[1].postconditions[1].massage", "flow.1.postconditions", ["true", {"expression": "true", "massage": "x"}]),
    ("flow[1].output_schema.type", "flow.1.output_schema", {"type": "objekt"}),
    ("flow[1].consensus.quorum", "flow.1.consensus", {"quorum": 3}),
    ("flow[1].consensus.voters[0].prompt", "flow.1.consensus", {"voters": [{"validator": "v", "prompt": "{{"}]}),
    ("flow[0].approval.when", "flow.0.approval", {"when": "during"}),
    ("flow[0].checkpoints[0].postconditions[0]", "flow.0.checkpoints", [{"name": "x", "postconditions": ["("]}]),
    ("checkpoints[0].step", "checkpoints", [{"step": "kyc_agnt", "name": "x"}]),
    ("policies.max_retris", "policies", {"max_retris": 3}),
    ("agents[0].config.checkpoints[0].preconditions[0]", "agents.0.config.checkpoints", [{"preconditions": ["("]}]),
    ("agents[0].config.recovery_policies.on_fail", "agents.0.config.recovery_policies", {"on_fail": "rollback"}),
]


@pytest.mark.parametrize(("told", "path", "value"), WRONG, ids=[f"{told}-{n}" for n, (told, *_) in enumerate(WRONG)])
def test_wrong_definitions_are_told_by_path(told: str, path: str, value: Any) -> None:
    definition = changed(path, value)
    before = copy.deepcopy(definition)
    problems = DEFINITION.validate(definition, tools=None)
    assert [problem.path for problem in problems] == [told], problems
    assert definition == before


def test_what_is_no_flow_at_all_is_told() -> None:
    for nothing in ([], "flow", None, 3, {"agents": 3, "flow": {}}, {"agents": [3, None], "flow": [None, 3]}):
        assert DEFINITION.validate(nothing, tools=None)  # type: ignore[arg-type]


def test_a_reference_to_a_stored_configuration_is_told() -> None:
    definition = changed("agents.0.config", ...)
    definition["agents"][0]["config_ref"] = "abc"
    assert "agents[0].config_ref" in [problem.path for problem in DEFINITION.validate(definition, tools=None)]


def test_inputs_that_an_agent_needs_are_missed() -> None:
    crew = {
        "agents": {"a": {"role": "Clerk", "goal": "Help {who}", "backstory": "Old"}},
        "tasks": {"t": {"description": "Do {what}", "expected_output": "It", "agent": "a"}},
    }
    flow = {
        "agents": [{"id": "crew", "framework": "crewai", "config": crew}],
        "flow": [{"agent": "crew", "inputs": {"who": "name"}}],
    }
    (problem,) = DEFINITION.validate(flow, tools=None)
    assert (problem.path, problem.message.startswith("what: ")) == ("flow[0].inputs", True)
    del flow["flow"][0]["inputs"]  # type: ignore[attr-defined]
    assert DEFINITION.validate(flow, tools=None) == []
    assert [problem.path for problem in DEFINITION.validate_inputs(flow, {"who": "x"})] == ["what"]


def test_inputs_are_judged_by_the_agents_that_get_them() -> None:
    agent = template_agent("a", out="{{ count }}")
    agent["config"]["state"]["count"] = {"type": "integer"}
    flow = flow_of({"agent": "a", "inputs": {"count": "number"}, "outputs": ["out"]}, agents=[agent])
    assert [problem.path for problem in DEFINITION.validate_inputs(flow, {"number": "three"})] == ["number"]
    assert DEFINITION.validate_inputs(flow, {"number": 3}) == []


def test_a_default_makes_an_input_optional() -> None:
    flow = flow_of({"inputs": {"a": {"from": "given.a", "default": 1}, "b": {"value": [1]}}})
    assert DEFINITION.validate_inputs(flow, {}) == []


def test_a_tool_that_is_not_registered_is_told_where_it_is_named() -> None:
    flow = flow_of({"agent": "a"}, agents=[asking_agent("a", "Hi", tools=["unknown_tool"])])
    assert DEFINITION.needs_worker(flow, tools=frozenset())
    problems = DEFINITION.validate(flow, tools=frozenset())
    assert [problem.path for problem in problems] == ["agents[0].config.nodes[0].tools[0]"]


def test_the_example_fits_the_published_schema() -> None:
    schema = DEFINITION.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(ONBOARDING, schema)
    keyed = {agent["id"]: {k: v for k, v in agent.items() if k != "id"} for agent in ONBOARDING["agents"]}
    jsonschema.validate({**ONBOARDING, "agents": keyed}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**ONBOARDING, "flow": [{"agnt": "kyc_agent"}]}, schema)


def test_the_described_flow_is_valid() -> None:
    page = (Path(__file__).parents[2] / "docs" / "flows.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert DEFINITION.validate(json.loads(example), tools=None) == []


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*way, key))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("a.{}[] 1", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "step", "a"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(st.sampled_from([way for way in _places(ONBOARDING) if way and "config" not in way]), _JSON)
def test_nonsense_anywhere_is_told_and_never_raised(way: tuple[Any, ...], value: Any) -> None:
    definition: Any = copy.deepcopy(ONBOARDING)
    place = definition
    for part in way[:-1]:
        place = place[part]
    place[way[-1]] = value
    problems = DEFINITION.validate(definition, tools=None)
    assert all(problem.message for problem in problems)
    if not problems:
        DEFINITION.plan(definition, {})
        DEFINITION.nodes(definition)
        DEFINITION.validate_inputs(definition, {})
        for node in DEFINITION.nodes(definition):
            DEFINITION.contracts_for(definition, node.id)


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    """Steps in any order, each with steps that it waits for; without circles."""
    size = draw(st.integers(1, 7))
    order = draw(st.permutations(range(1, size + 1)))
    return {
        step: draw(st.lists(st.sampled_from(order[:place]), unique=True)) if place else []
        for place, step in sorted(enumerate(order), key=lambda item: item[1])
    }


@given(graphs())
def test_nodes_come_after_all_that_they_wait_for(graph: dict[int, list[int]]) -> None:
    flow = flow_of(*({"step": step, "depends_on": needs} for step, needs in graph.items()))
    assert DEFINITION.validate(flow, tools=None) == []
    seen: set[str] = set()
    for node in DEFINITION.nodes(flow):
        assert node.depends_on == [str(step) for step in sorted(graph[int(node.id)])]
        assert seen.issuperset(node.depends_on)
        seen.add(node.id)
    assert seen == {str(step) for step in graph}


@given(graphs(), st.data())
def test_every_circle_is_found(graph: dict[int, list[int]], data: st.DataObject) -> None:
    """An edge from a step back to one that it waits for, however far away, closes a circle."""
    above: dict[int, set[int]] = {}
    flow = flow_of(*({"step": step, "depends_on": needs} for step, needs in graph.items()))
    for node in DEFINITION.nodes(flow):
        needs = {int(name) for name in node.depends_on}
        above[int(node.id)] = needs.union(*(above[step] for step in needs))
    pairs = [(step, other) for step, others in above.items() for other in sorted(others)]
    if not pairs:
        return
    step, ancestor = data.draw(st.sampled_from(pairs))
    flow["flow"][ancestor - 1]["depends_on"].append(step)
    (problem,) = DEFINITION.validate(flow, tools=None)
    assert problem.path == "flow"


def test_what_is_wrong_can_be_asked_whether_it_needs_a_worker() -> None:
    broken: list[JsonObject] = [
        {},
        {"agents": [], "flow": []},
        flow_of({"agent": "nobody"}),
        flow_of({"unknown": 1}),
        {**flow_of({}), "agents": [{"id": "agent1", "framework": "os", "config": {}}]},
    ]
    for definition in broken:
        assert not DEFINITION.needs_worker(definition, tools=frozenset())
        assert DEFINITION.validate(definition, tools=frozenset())
