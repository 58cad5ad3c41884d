"""With what a node begins, whether it begins at all, and what a run gives at its end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.adapters.base import BadDefinition, JsonObject
from activities.adapters.flow.definition import DEFINITION
from activities.adapters.flow.paths import NothingThere, lookup, parse
from tests.flow.support import ended, flow_of, template_agent


def inputs_of(definition: JsonObject, node: str, inputs: JsonObject, ends: dict[str, JsonObject]) -> JsonObject:
    assert DEFINITION.validate(definition, tools=None) == []
    wrapper = DEFINITION.begin(definition, node, inputs, ends)
    assert wrapper is not None
    given: JsonObject = wrapper["inputs"]
    return given


def test_a_node_begins_with_what_it_names() -> None:
    flow = flow_of(
        {"outputs": ["a", "b"]},
        {"inputs": ["a", "person.name", "lines[1].text", "steps.1.raw", "inputs.a"][:4]},
        {"inputs": {"own": "inputs.a", "made": "a", "fixed": {"value": [1]}, "else": {"from": "b.c", "default": 0}}},
    )
    run = {"a": "run", "person": {"name": "Ada"}, "lines": [{}, {"text": "x"}]}
    ends = {"1": {**ended("1", a="made", b=None), "result": {"raw": "all"}}, "2": ended("2", out=1)}
    assert inputs_of(flow, "2", run, ends) == {"a": "made", "name": "Ada", "text": "x", "raw": "all"}
    assert inputs_of(flow, "3", run, ends) == {"own": "run", "made": "made", "fixed": [1], "else": 0}


def test_a_node_that_names_nothing_is_given_everything() -> None:
    flow = flow_of({"outputs": ["a"]}, {"outputs": ["b"], "depends_on": []}, {"depends_on": [1]})
    ends = {"1": ended("1", a=1), "2": ended("2", b=2)}
    assert inputs_of(flow, "3", {"x": 0, "a": 9}, ends) == {"x": 0, "a": 1}


def test_the_last_step_that_ran_gives_a_name_its_value() -> None:
    flow = flow_of({"outputs": ["a"]}, {"outputs": ["a"], "when": "false"}, {"outputs": ["a"]}, {"inputs": ["a"]})
    assert inputs_of(flow, "4", {}, {"1": ended("1", a=1), "3": ended("3", a=3)}) == {"a": 3}
    assert inputs_of(flow, "3", {}, {"1": ended("1", a=1)})["a"] == 1


def test_a_missing_part_of_an_input_is_named() -> None:
    flow = flow_of({"outputs": ["a"]}, {"inputs": ["a.b.c"]})
    with pytest.raises(BadDefinition, match=r"lacks its input 'c': there is no 'a\.b\.c'"):
        DEFINITION.begin(flow, "2", {}, {"1": ended("1", a={"b": [1]})})


@pytest.mark.parametrize(
    ("when", "begins"),
    [
        ("a > 1", True),
        ("a > 2", False),
        ("inputs.a == 1", True),
        ('steps["1"].a == 2', True),
        ("a > 1 && false", False),
    ],
)
def test_a_condition_decides(when: str, begins: bool) -> None:
    flow = flow_of({"outputs": ["a"]}, {"when": when})
    assert DEFINITION.validate(flow, tools=None) == []
    assert (DEFINITION.begin(flow, "2", {"a": 1}, {"1": ended("1", a=2)}) is not None) is begins


def test_a_condition_that_cannot_be_told_is_an_error() -> None:
    flow = flow_of({"outputs": ["a"]}, {"when": "a > 1"})
    with pytest.raises(BadDefinition, match="The condition of step '2' cannot be evaluated: "):
        DEFINITION.begin(flow, "2", {}, {"1": ended("1", a="text")})


def test_what_waits_for_skipped_steps_alone_is_skipped() -> None:
    flow = flow_of(
        {"when": "false"}, {"depends_on": [1]}, {"depends_on": []}, {"depends_on": [2, 3], "inputs": ["agent2"]}
    )
    assert DEFINITION.begin(flow, "1", {}, {}) is None
    skipped = {"1": DEFINITION.skipped(flow, "1")}
    for ends in ({}, skipped):
        assert DEFINITION.begin(flow, "2", {}, ends) is None
        assert DEFINITION.begin(flow, "4", {}, ends) is None
    assert DEFINITION.begin(flow, "3", {}, {}) is not None
    assert DEFINITION.begin(flow, "4", {}, {"3": ended("3", out=1)}) is not None


def test_a_list_goes_on_after_a_step_that_is_skipped() -> None:
    flow = flow_of({"outputs": ["a"]}, {"when": "a > 1"}, {"inputs": ["a"]})
    ends = {"1": ended("1", a=1)}
    assert DEFINITION.begin(flow, "2", {}, ends) is None
    assert inputs_of(flow, "3", {}, ends) == {"a": 1}


def test_outputs_of_skipped_steps_are_null_unless_the_run_has_them() -> None:
    flow = flow_of(
        {"outputs": ["a"], "when": "false"}, {"depends_on": []}, {"depends_on": [1, 2], "inputs": ["a", "steps.1.raw"]}
    )
    ends = {"2": ended("2", agent2=1)}
    assert inputs_of(flow, "3", {}, ends) == {"a": None, "raw": None}
    assert inputs_of(flow, "3", {"a": "of the run"}, ends) == {"a": "of the run", "raw": None}
    flow["flow"][2] = {**flow["flow"][2], "inputs": {"a": {"from": "a", "default": "none"}}, "when": "a == null"}
    assert inputs_of(flow, "3", {}, ends) == {"a": "none"}


def test_what_an_agent_cannot_take_as_null_is_left_out() -> None:
    agent = template_agent("typed", out="{{ a }}")
    agent["config"]["state"] |= {"a": {"type": "string"}, "b": {"type": "any"}}
    flow = flow_of(
        {"outputs": ["a", "b"], "when": "false"},
        {"depends_on": []},
        {"agent": "typed", "depends_on": [1, 2], "inputs": ["a", "b"], "outputs": ["out"]},
        agents=[agent],
    )
    assert inputs_of(flow, "3", {}, {"2": ended("2", agent2=1)}) == {"b": None}


def test_a_task_is_a_template_over_what_is_given() -> None:
    flow = flow_of({"outputs": ["a"]}, {"task": "Look at {{ x }}, {{ a }} and {name}.", "inputs": {"x": "a.b"}})
    ends = {"1": ended("1", a={"b": "deep"})}
    assert inputs_of(flow, "2", {}, ends) == {"x": "deep", "task": 'Look at deep, {"b": "deep"} and {name}.'}
    flow["flow"][1]["task"] = "Look."
    assert inputs_of(flow, "2", {}, ends)["task"] == 'Look.\n\nGiven:\n{\n  "x": "deep"\n}'


LONE = {"framework": "crewai", "config": {"role": "Clerk", "goal": "Help", "llm": {"provider": "x", "model": "m"}}}


def test_one_agent_of_a_crew_becomes_a_crew() -> None:
    flow = {
        "agents": [{"id": "clerk", "name": "Clerk", **LONE}],
        "flow": [
            {"agent": "clerk", "description": "Greet {name}, not {nobody}.", "inputs": ["name"], "outputs": ["x", "y"]}
        ],
    }
    assert DEFINITION.validate(flow, tools=None) == []
    framework, crew = DEFINITION.agent_of(flow, "1")
    assert framework == "crewai"
    assert crew == {
        "agents": {"clerk": {**LONE["config"], "backstory": ""}},  # type: ignore[dict-item]
        "tasks": {
            "Clerk": {
                "description": "{task}",
                "expected_output": 'A JSON object with the fields "x", "y", and nothing else.',
                "agent": "clerk",
            }
        },
    }
    assert inputs_of(flow, "1", {"name": "Ada {x}"}, {})["task"] == "Greet Ada {x}, not {nobody}."
    del flow["flow"][0]["description"]  # type: ignore[attr-defined]
    told = inputs_of(flow, "1", {"name": "Ada"}, {})["task"]
    assert told == 'Clerk: do your part with what is given.\n\nGiven:\n{\n  "name": "Ada"\n}'


def test_tools_of_a_stored_agent_count_by_their_names() -> None:
    tool = {"name": "calculator", "type": "api", "endpoint": "https://example.com", "config": {}}
    config = {**LONE["config"], "tools": [tool, "json_query"], "checkpoints": [], "recovery_policies": {}}  # type: ignore[dict-item]
    flow = {"agents": [{"id": "clerk", "framework": "crewai", "config": config}], "flow": [{"agent": "clerk"}]}
    assert DEFINITION.validate(flow, tools=frozenset({"calculator", "json_query"})) == []
    (problem,) = DEFINITION.validate(flow, tools=frozenset({"calculator"}))
    assert problem.path == "agents[0].config.tools[1]"


def test_a_run_gives_all_names_and_the_whole_outputs_of_its_steps() -> None:
    flow = flow_of({"outputs": ["a", "b"]}, {"outputs": ["a"]}, {"when": "false"})
    ends = {"1": {**ended("1", a=1, b=2), "result": {"raw": "x"}}, "2": ended("2", a=3)}
    expected = {"a": 3, "b": 2, "steps": {"1": {"raw": "x"}, "2": {"a": 3}, "3": None}}
    assert DEFINITION.outputs(flow, ends) == expected
    assert DEFINITION.outputs(flow, {**ends, "3": DEFINITION.skipped(flow, "3")}) == expected


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a", ("a",)),
        ("a.b-c.0", ("a", "b-c", "0")),
        ("a[0][12].b", ("a", "0", "12", "b")),
        ("due date.day", ("due date", "day")),
        *((wrong, None) for wrong in ("", ".", "a.", ".a", "a..b", "[0]", "a[", "a[x]", "a]", " a", "a .b", "a[0]b")),
    ],
)
def test_paths(path: str, parts: Any) -> None:
    assert parse(path) == parts


def test_the_place_where_a_path_ends_is_told() -> None:
    with pytest.raises(NothingThere) as nothing:
        lookup({"a": [{"b": 1}]}, ("a", "1", "b"))
    assert nothing.value.place == "a.1"


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_a_node_begins_when_it_may(chosen: list[bool], data: st.DataObject) -> None:
    """Over any graph of conditions: a node runs if it waits for nothing or for one that ran, and its condition holds."""
    steps = []
    for index, holds in enumerate(chosen):
        needs = data.draw(st.lists(st.integers(1, index), unique=True)) if index else []
        steps.append({"step": index + 1, "depends_on": needs, "when": f"inputs.go[{index}]", "holds": holds})
    flow = flow_of(*({key: step[key] for key in ("step", "depends_on", "when")} for step in steps))
    ends: dict[str, JsonObject] = {}
    ran: set[int] = set()
    for step in steps:
        needs = step["depends_on"]
        expected = bool(step["holds"]) and (not needs or not ran.isdisjoint(needs))
        wrapper = DEFINITION.begin(flow, str(step["step"]), {"go": chosen}, ends)
        assert (wrapper is not None) is expected
        if wrapper is not None:
            ran.add(step["step"])
            ends[wrapper["node"]] = {**wrapper, "outputs": {wrapper["node"]: 1}, "result": {}}
    assert DEFINITION.outputs(flow, ends)["steps"] == {str(s["step"]): {} if s["step"] in ran else None for s in steps}
