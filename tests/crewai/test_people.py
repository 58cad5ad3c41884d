"""Tasks with `human_input`: what a person sees, and what comes of each answer. Nobody waits at a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from activities.adapters.base import Adapter, Answer, JsonObject, ModelEndpoint, StepContext, StepError, StepResult
from activities.adapters.crewai.definition import DEFINITION
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.conformance.runs import Case, advance_with_people, run_to_the_end
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

EXAMPLE: JsonObject = json.loads((Path(__file__).parents[2] / "examples" / "crewai_review.json").read_text())

FACTS: JsonObject = {
    "title": "Facts",
    "type": "object",
    "properties": {"count": {"type": "integer"}},
    "required": ["count"],
}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load_adapter("crewai", Settings(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any) -> str:
        raise AssertionError("a worker has no terminal")

    monkeypatch.setattr("builtins.input", nobody)
    monkeypatch.setattr("crewai.core.providers.human_input._async_readline", nobody)


def crew(**fields: Any) -> JsonObject:
    body = {"description": "Count", "expected_output": "e", "agent": "a", "human_input": True, **fields}
    return {"agents": {"a": {"role": "Counter", "goal": "g", "backstory": "b"}}, "tasks": {"count": body}}


async def attempt(
    adapter: Adapter,
    server: ModelServer,
    definition: JsonObject,
    answers: Mapping[str, Answer] | None = None,
    tools: MemoryToolBox | None = None,
) -> StepResult:
    endpoint = ModelEndpoint(server.base_url, "key", "small")
    context = StepContext("run", 0, 1, endpoint, tools or MemoryToolBox(), answers or {})
    return await adapter.run_step(definition, adapter.start(definition, {}), context)


async def test_the_question_holds_the_output(adapter: Adapter) -> None:
    with ModelServer([{"reply": {"content": "Seven"}}]) as server:
        (asked,) = (await attempt(adapter, server, crew())).interrupts
        assert (asked.id, asked.title) == ("count", "count")
        assert asked.question == {"task": "count", "agent": "a", "output": "Seven"}
        result = await attempt(adapter, server, crew(), {"count": Answer("approve", "well done")})
    assert result.outputs["raw"] == "Seven"
    assert result.units == ("count", "a")


async def test_an_edit_takes_the_place_of_the_output(adapter: Adapter) -> None:
    with ModelServer([{"reply": {"json": {"count": 7}}}]) as server:
        definition = crew(output_json=FACTS)
        (asked,) = (await attempt(adapter, server, definition)).interrupts
        assert json.loads(asked.question["output"]) == {"count": 7}
        result = await attempt(adapter, server, definition, {"count": Answer("edit", {"count": 8})})
        assert result.outputs["json"] == {"count": 8}
        assert json.loads(result.outputs["raw"]) == {"count": 8}
        assert len(server.calls) == 2


@pytest.mark.parametrize("value", [None, "", "  \n"])
async def test_a_rejection_without_a_word_fails_the_step(adapter: Adapter, value: Any) -> None:
    with ModelServer() as server, pytest.raises(StepError, match="'count' was rejected by a person") as failure:
        await attempt(adapter, server, crew(), {"count": Answer("reject", value)})
    assert (failure.value.failure_type, failure.value.retryable) == ("validation_error", False)


async def test_feedback_goes_to_the_agent_and_is_asked_about_again(adapter: Adapter) -> None:
    rules = [
        {"when": {"last": "Count the geese"}, "reply": {"content": "Nine"}},
        {"when": {"last": "Count the ducks"}, "reply": {"content": "Eight"}},
        {"reply": {"content": "Seven"}},
    ]
    answers = {"count": Answer("reject", "Count the ducks")}
    with ModelServer(rules) as server:
        (second,) = (await attempt(adapter, server, crew(), answers)).interrupts
        assert (second.id, second.question["output"]) == ("count#2", "Eight")
        # The agent knows what it said.
        assert [message["content"] for message in server.calls[-1].body["messages"]].count("Seven") == 1
        answers[second.id] = Answer("reject", "Count the geese")
        (third,) = (await attempt(adapter, server, crew(), answers)).interrupts
        result = await attempt(adapter, server, crew(), {**answers, third.id: Answer("approve")})
    assert result.outputs["raw"] == "Nine"


async def test_a_guardrail_judges_what_a_person_wrote(adapter: Adapter) -> None:
    rules: list[JsonObject] = [
        {"when": {"system": "Guardrail", "any": "Seven"}, "reply": {"json": {"valid": False, "feedback": "More"}}},
        {"when": {"system": "Guardrail"}, "reply": {"json": {"valid": True, "feedback": None}}},
        {"reply": {"content": "Eight"}},
    ]
    definition = crew(guardrail="It must be more than seven")
    with ModelServer(rules) as server:
        (again,) = (await attempt(adapter, server, definition, {"count": Answer("edit", "Seven")})).interrupts
        assert again.id == "count#2"
        answers = {"count": Answer("edit", "Seven"), "count#2": Answer("approve")}
        assert (await attempt(adapter, server, definition, answers)).outputs["raw"] == "Eight"


async def test_the_manager_of_a_crew_is_asked_for(adapter: Adapter) -> None:
    definition = {**crew(agent=None), "process": "hierarchical"}
    with ModelServer([{"reply": {"content": "Seven"}}]) as server:
        (asked,) = (await attempt(adapter, server, definition)).interrupts
        assert asked.question == {"task": "count", "agent": "manager", "output": "Seven"}
        assert (await attempt(adapter, server, definition, {"count": Answer("approve")})).next_step is None


async def test_the_example_runs(adapter: Adapter) -> None:
    definition = EXAMPLE["workflow_definition"]
    case = Case(
        name="review",
        definition=definition,
        inputs={"product": "Tea", "message": "Is it hot?"},
        steps=("answer · support", "note · archivist"),
        model_calls=3,
        answers=(("Yes.", Answer("reject", "Say how hot")), ("90 degrees", Answer("approve"))),
    )
    rules = [
        {"when": {"any": "Sum up"}, "reply": {"content": "Told the heat."}},
        {"when": {"any": "Say how hot"}, "reply": {"content": "It has 90 degrees."}},
        {"when": {"any": "Is it hot"}, "reply": {"content": "Yes."}},
    ]
    assert DEFINITION.validate(definition, tools=frozenset()) == []
    with ModelServer(rules) as server:
        run = await run_to_the_end(adapter, case, server, step=advance_with_people)
    assert tuple(run.names) == case.steps
    assert run.paid_calls == case.model_calls
    assert run.result is not None
    assert run.result.outputs["raw"] == "Told the heat."
    assert run.result.outputs["tasks_output"][0]["raw"] == "It has 90 degrees."
