"""The adapter of external agents: its pure half, and its one step, behind a door that is scripted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from activities.adapters.base import BadDefinition, Edit, ExternalResult, ModelEndpoint, StepContext
from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.adapters.registry import definition_for, load_adapter
from omium_core.errors import InvalidInput
from omium_core.settings import Settings
from tests.conformance.suite import _PURE, FRAMEWORK_MODULES
from tests.support.toolbox import MemoryToolBox

AGENT = {"connection": "Research Crew", "inputs": {"depth": "deep"}, "options": {"meta": {"a": 1}}}
HALF = definition_for("external")


class Door:
    """Answers as an agent would, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def run(
        self, connection: str, inputs: Any, *, options: Any, harmless: bool, progress: Callable[[str], None]
    ) -> ExternalResult:
        self.asked.append((connection, inputs, options, harmless))
        progress("running")
        return ExternalResult("kick-1", "completed", "Tea.", {"drink": "tea"}, 7)


@pytest.fixture
def adapter(tmp_path: Path) -> Any:
    return load_adapter("external", Settings(), tmp_path)


def context(door: Door | None) -> StepContext:
    return StepContext("e", 0, 1, ModelEndpoint("", "", ""), MemoryToolBox(), external=door)


async def test_one_step(adapter: Any) -> None:
    door = Door()
    assert await adapter.check(AGENT, tools=MemoryToolBox()) == []
    assert HALF.plan(AGENT, {}).steps == (await adapter.first_step(AGENT),) == ("Research Crew",)
    state = adapter.start(AGENT, {"topic": "tea"})
    before = json.dumps(state)
    results = [await adapter.run_step(AGENT, json.loads(before), context(door)) for _ in range(2)]
    assert results[0] == results[1]
    assert (json.dumps(state), results[0].next_step, results[0].units) == (before, None, ("Research Crew",))
    assert door.asked[0] == ("Research Crew", {"depth": "deep", "topic": "tea"}, {"meta": {"a": 1}}, False)
    assert results[0].outputs.items() >= {"raw": "Tea.", "json": {"drink": "tea"}, "kickoff_id": "kick-1"}.items()
    after = json.loads(json.dumps(results[0].state, allow_nan=False))
    assert HALF.values(after) == {
        "depth": "deep",
        "topic": "tea",
        "raw": "Tea.",
        "json": {"drink": "tea"},
        "status": "completed",
    }
    assert (HALF.units(AGENT, state), HALF.units(AGENT, after)) == (("Research Crew",), ())
    with pytest.raises(BadDefinition, match="nothing left"):
        await adapter.run_step(AGENT, after, context(door))


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({}, "connection"),
        ({"connection": ""}, "connection"),
        ({"connection": 7}, "connection"),
        ({"connection": "x", "harmless": "yes"}, "harmless"),
        ({"connection": "x", "inputs": []}, "inputs"),
        ({"connection": "x", "conection": "y"}, "conection"),
        ([], ""),
    ],
)
async def test_wrong_definitions_are_told_by_path(adapter: Any, definition: Any, path: str) -> None:
    [problem] = HALF.validate(definition, tools=None)
    assert problem.path == path
    assert not HALF.needs_worker(definition, tools=frozenset())
    if isinstance(definition, dict):
        with pytest.raises(BadDefinition):
            await adapter.run_step(definition, {"inputs": {}, "result": None}, context(Door()))


def test_definitions_fit_the_published_schema() -> None:
    schema = HALF.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(AGENT, schema)


def test_edits(adapter: Any) -> None:
    state = adapter.start(AGENT, {"topic": "tea"})
    assert HALF.edit(AGENT, state, Edit()) == (AGENT, state)
    assert HALF.edit(AGENT, state, Edit(models={"*": "other"})) == (AGENT, state)
    _, edited = HALF.edit(AGENT, state, Edit(inputs={"topic": "coffee"}, values={"depth": "flat"}))
    assert edited["inputs"] == {"topic": "coffee", "depth": "flat"}
    done = {**state, "result": {"raw": "Tea.", "json": None}}
    assert HALF.edit(AGENT, done, Edit(values={"raw": "Coffee."}))[1]["result"]["raw"] == "Coffee."
    for edit, path in (
        (Edit(prompts={"Research Crew": "x"}), "prompts.Research Crew"),
        (Edit(models={"Research Crew": "x"}), "models.Research Crew"),
        (Edit(values={"raw": "x"}), "values.raw"),
    ):
        with pytest.raises(InvalidInput) as refused:
            HALF.edit(AGENT, state, edit)
        assert [problem.path for problem in refused.value.problems] == [path]


def test_the_pure_half_imports_no_framework(adapter: Any) -> None:
    cases = [{"definition": AGENT, "inputs": {}, "tools": [], "state": adapter.start(AGENT, {})}]
    done = subprocess.run(
        [sys.executable, "-c", _PURE, "external"], input=json.dumps(cases), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)).isdisjoint(FRAMEWORK_MODULES)


def test_a_step_of_a_flow() -> None:
    flow = {
        "agents": [{"id": "crew", "framework": "external", "config": {"connection": "Research Crew"}}],
        "flow": [{"agent": "crew", "inputs": {"topic": "subject"}, "outputs": ["report"]}],
    }
    assert FLOW.validate(flow, tools=None) == []
    [node] = FLOW.nodes(flow)
    assert (node.framework, node.first_step) == ("external", "Research Crew")
    wrapper = FLOW.begin(flow, node.id, {"subject": "tea"}, {})
    assert wrapper is not None
    assert wrapper["inputs"] == {"topic": "tea"}
    wrong = {**flow, "agents": [{**flow["agents"][0], "config": {}}]}
    assert [problem.path for problem in FLOW.validate(wrong, tools=None)] == ["agents[0].config.connection"]
