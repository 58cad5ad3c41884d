"""Edits as people and policies write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activities.adapters.base import Edit
from activities.adapters.registry import definition_for
from activities.edits import Edits, apply_edits, read_edits
from omium_core.errors import InvalidInput
from tests.steering.world import DEFINITION, Run

LANGGRAPH = definition_for("langgraph")
CREW: dict[str, Any] = {
    "agents": {
        "writer": {"role": "Writer", "goal": "Write.", "backstory": "Old."},
        "critic": {"role": "Critic", "goal": "Judge.", "backstory": "Strict."},
    },
    "tasks": {
        "write": {"description": "Write on {topic}.", "expected_output": "A text.", "agent": "writer"},
        "judge": {"description": "Judge it.", "expected_output": "A word.", "agent": "critic"},
    },
}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, Edits()),
        ({}, Edits()),
        ({"prompts": {"a": "x"}, "models": {"*": "m"}}, Edits(prompts={"a": "x"}, models={"*": "m"})),
        ({"prompt": {"agent_id": "a", "new_prompt": "x"}}, Edits(prompts={"a": "x"})),
        ({"prompt": {"agent": "a", "prompt": {"goal": "x"}}}, Edits(prompts={"a": {"goal": "x"}})),
        ({"prompt": "x"}, Edits(prompts={"*": "x"})),
        ({"model": {"name": "a", "model": "m"}}, Edits(models={"a": "m"})),
        ({"model": "m"}, Edits(models={"*": "m"})),
        ({"state": {"n": 1}}, Edits(values={"n": 1})),
        ({"state_values": {"n": 1}, "values": {"m": None}}, Edits(values={"n": 1, "m": None})),
        ({"input_params": {"n": 1}, "inputs": {"m": 2}}, Edits(inputs={"n": 1, "m": 2})),
        ({"append_prompts": {"*": "x"}}, Edits(append={"*": "x"})),
        ({"prompts": None, "models": {}}, Edits()),
    ],
)
def test_what_is_understood(given: Any, meant: Edits) -> None:
    assert read_edits(given) == meant
    assert bool(read_edits(given)) == (meant != Edits())


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ([], [""]),
        ("x", [""]),
        ({"colour": "red", "size": 3}, ["colour", "size"]),
        ({"prompts": "x", "values": 3}, ["prompts", "values"]),
        ({"prompts": {"a": 3, "b": "", "c": {"goal": 1}}}, ["prompts.a", "prompts.b", "prompts.c"]),
        ({"append_prompts": {"a": {"goal": "x"}}}, ["append_prompts.a"]),
        ({"prompt": {"agent": "a"}}, ["prompt.prompt"]),
        ({"prompt": {"agent": "a", "prompt": "x", "mood": "y"}}, ["prompt.mood"]),
        ({"prompt": 3, "model": []}, ["prompt", "model"]),
    ],
)
def test_what_is_not_understood_is_named(given: Any, paths: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_edits(given)
    assert [problem.path for problem in refused.value.problems] == paths


def test_texts_are_added_to_the_prompts_that_are_there() -> None:
    edits = read_edits({"append_prompts": {"plan": "Be brief."}, "prompts": {"write": "Sing."}})
    definition, states = apply_edits(LANGGRAPH, DEFINITION, {"": Run.state(0)}, edits)
    assert [node["prompt"] for node in definition["nodes"]] == ["Plan {{ topic }}.\n\nBe brief.", "Sing."]
    assert states == {"": Run.state(0)}
    assert "Be brief" not in json.dumps(DEFINITION)


def test_all_means_what_comes_next() -> None:
    edits = read_edits({"append_prompts": {"*": "Be brief."}})
    definition, _ = apply_edits(LANGGRAPH, DEFINITION, {"": Run.state(0)}, edits)
    assert [node["prompt"] for node in definition["nodes"]] == ["Plan {{ topic }}.", "Write {{ draft }}.\n\nBe brief."]


def test_prompts_of_what_comes_next_are_meant_and_a_named_one_keeps_its_own() -> None:
    crew = definition_for("crewai")
    state = {"inputs": {"topic": "tea"}, "outputs": []}
    edits = read_edits({"append_prompts": {"*": "Be brief."}, "prompts": {"write": "Sing."}})
    definition, _ = apply_edits(crew, CREW, {"": state}, edits)
    assert definition["tasks"]["write"]["description"] == "Sing.\n\nBe brief."
    # the task says what its agent does now: nobody is told twice
    assert "Be brief." not in json.dumps([definition["agents"], definition["tasks"]["judge"]])


def test_name_without_a_prompt() -> None:
    with pytest.raises(InvalidInput) as refused:
        apply_edits(LANGGRAPH, DEFINITION, {"": Run.state(0)}, read_edits({"append_prompts": {"nobody": "x"}}))
    assert [problem.path for problem in refused.value.problems] == ["append_prompts.nobody"]


def test_sections_of_a_definition_stay() -> None:
    definition = {**DEFINITION, "checkpoints": [{"after": "plan", "name": "planned"}], "policies": {}}
    changed, _ = apply_edits(LANGGRAPH, definition, {"": Run.state(0)}, Edit(prompts={"plan": "Dream."}))
    assert changed["checkpoints"] == definition["checkpoints"]
    assert changed["nodes"][0]["prompt"] == "Dream."
