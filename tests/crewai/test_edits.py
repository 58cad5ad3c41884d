"""Edits of crews and of their states, without CrewAI."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from activities.adapters.base import Edit, JsonObject
from activities.adapters.crewai.definition import DEFINITION
from omium_core.errors import InvalidInput

BODY = {"role": "r", "goal": "g", "backstory": "b"}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def task(agent: str | None, **fields: Any) -> JsonObject:
    return {"description": "d", "expected_output": "e", **({"agent": agent} if agent else {}), **fields}


def state(*outputs: tuple[str, str, Any], **inputs: Any) -> JsonObject:
    saved = [{"name": name, "agent": "a", "raw": raw, "json": structured} for name, raw, structured in outputs]
    return {"inputs": inputs, "outputs": saved}


def problems(definition: JsonObject, at: JsonObject, edit: Edit) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refused:
        DEFINITION.edit(definition, at, edit)
    return [(problem.path, problem.message) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("agents", "place"),
    [
        ({"a": {**BODY}}, lambda agents: agents["a"]),
        ([{"name": "a", **BODY}], lambda agents: agents[0]),
        ([{"a": {**BODY}}], lambda agents: agents[0]["a"]),
        ({"a": {"role": "r", "settings": {**BODY, "llm": {"model": "m", "seed": 1}}}}, lambda a: a["a"]["settings"]),
    ],
)
def test_agents_are_found_however_they_are_written(agents: Any, place: Any) -> None:
    definition = {"agents": agents, "tasks": [task("a", name="t"), task("a")]}
    before = copy.deepcopy(definition)
    edit = Edit(prompts={"a": {"goal": "G", "backstory": "B"}, "t": "D", "task 2": {"expected_output": "E"}})
    edited, _ = DEFINITION.edit(definition, state(), edit)
    assert definition == before
    assert {key: place(edited["agents"])[key] for key in BODY} == {"role": "r", "goal": "G", "backstory": "B"}
    assert [(each["description"], each["expected_output"]) for each in edited["tasks"]] == [("D", "e"), ("d", "E")]
    assert DEFINITION.validate(edited, tools=None) == []


def test_another_model_keeps_its_parameters() -> None:
    agents = {"a": {**BODY, "settings": {"llm": {"model": "m", "seed": 1}}}, "b": {**BODY, "llm": "m"}, "c": BODY}
    definition = {"agents": agents, "tasks": {"t": task("a"), "u": task("b"), "v": task("c")}}
    edited, _ = DEFINITION.edit(definition, state(), Edit(models={"*": "big", "b": "small"}))
    assert edited["agents"]["a"]["settings"]["llm"] == {"model": "big", "seed": 1}
    assert [edited["agents"][name]["llm"] for name in "bc"] == ["small", "big"]


def test_the_manager_that_crewai_makes_has_a_model_too() -> None:
    definition = {"agents": {"a": BODY}, "tasks": {"t": task(None)}, "process": "hierarchical"}
    assert DEFINITION.units(definition, state()) == ("t", "manager")
    assert DEFINITION.unit_names(definition) == {"t", "a", "manager"}
    assert DEFINITION.edit(definition, state(), Edit(models={"manager": "big"}))[0]["manager_llm"] == "big"
    assert DEFINITION.edit(definition, state(), Edit(models={"*": "big"}))[0]["manager_llm"] == "big"


def test_a_task_and_an_agent_of_one_name() -> None:
    definition = {"agents": {"x": BODY}, "tasks": {"x": task("x")}}
    edit = Edit(prompts={"x": {"description": "D", "goal": "G"}})
    edited, _ = DEFINITION.edit(definition, state(), edit)
    assert (edited["tasks"]["x"]["description"], edited["agents"]["x"]["goal"]) == ("D", "G")
    assert DEFINITION.edit(definition, state(), Edit(prompts={"x": "D"}))[0]["tasks"]["x"]["description"] == "D"
    assert DEFINITION.units(definition, state()) == ("x",)


def test_outputs_are_replaced_as_they_are_kept() -> None:
    definition = {"agents": {"a": BODY}, "tasks": {"t": task("a"), "n": task("a", output_json=SCHEMA), "u": task("a")}}
    at = state(("t", "old", None), ("n", '{"n": 1}', {"n": 1}))
    _, after = DEFINITION.edit(definition, at, Edit(values={"t": "new", "n": {"n": 2}}))
    assert DEFINITION.values(after) == {"t": "new", "n": {"n": 2}}
    assert after["outputs"][1]["raw"] == '{"n": 2}'
    _, after = DEFINITION.edit(definition, at, Edit(values={"n": '{"n": 3}', "t": ["a", "list"]}))
    assert DEFINITION.values(after) == {"t": ["a", "list"], "n": {"n": 3}}
    assert at["outputs"][0]["raw"] == "old"
    unfit: list[Any] = ["no JSON", {"n": "x"}, []]
    for value in unfit:
        ((path, _),) = problems(definition, at, Edit(values={"n": value}))
        assert path == "values.n"
    ((path, message),) = problems(definition, at, Edit(values={"u": "x"}))
    assert (path, "t, n" in message) == ("values.u", True)


def test_problems_say_what_was_meant() -> None:
    definition = {"agents": {"writer": BODY}, "tasks": {"report": task("writer")}}
    told = problems(
        definition,
        state(),
        Edit(prompts={"reprot": "x", "report": {"goal": "x"}, "writer": ""}, models={"report": "m", "writr": "m"}),
    )
    assert dict(told).keys() == {
        "prompts.reprot",
        "prompts.report.goal",
        "prompts.writer",
        "models.report",
        "models.writr",
    }
    assert "'report'" in dict(told)["prompts.reprot"]
    assert "description, expected_output" in dict(told)["prompts.report.goal"]
    assert "'writer'" in dict(told)["models.report"]
    assert "'writer'" in dict(told)["models.writr"]


def test_an_input_can_be_added_with_the_prompt_that_needs_it() -> None:
    definition = {"agents": {"a": BODY}, "tasks": {"t": task("a")}}
    edit = Edit(prompts={"t": "Count {things}"}, inputs={"things": "ducks"})
    edited, after = DEFINITION.edit(definition, state(), edit)
    assert DEFINITION.validate_inputs(edited, after["inputs"]) == []
    assert [path for path, _ in problems(definition, state(), Edit(prompts={"t": "Count {things}"}))] == [
        "inputs.things"
    ]
