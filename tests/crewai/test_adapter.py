"""What is particular to CrewAI: failures that it would swallow, contexts, states that people edited."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import openai
import pytest

from activities.adapters.base import (
    Adapter,
    BadDefinition,
    JsonObject,
    ModelEndpoint,
    StepContext,
    StepError,
    StepResult,
)
from activities.adapters.crewai.schema import LEFT_OUT, REFUSED, AgentSpec, CrewFields, LLMSpec, Part, TaskSpec
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.conformance.runs import to_bytes
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load_adapter("crewai", Settings(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def agent(role: str, **fields: Any) -> JsonObject:
    return {"role": role, "goal": "g", "backstory": "b", **fields}


def task(agent: str | None, text: str, **fields: Any) -> JsonObject:
    return {"description": text, "expected_output": "e", **({"agent": agent} if agent else {}), **fields}


async def step(
    adapter: Adapter,
    server: ModelServer,
    definition: JsonObject,
    state: JsonObject | None = None,
    tools: MemoryToolBox | None = None,
) -> StepResult:
    context = StepContext("run", 0, 1, ModelEndpoint(server.base_url, "key", "small"), tools or MemoryToolBox())
    async with asyncio.timeout(60):
        return await adapter.run_step(definition, state or adapter.start(definition, {}), context)


def asked(server: ModelServer) -> list[str]:
    """The last message of each model call."""
    return [call.body["messages"][-1]["content"] for call in server.calls]


def calling(tool: str, **arguments: Any) -> JsonObject:
    return {
        "when": {"tool": tool, "not_called": tool},
        "reply": {"tool_calls": [{"name": tool, "arguments": arguments}]},
    }


DELEGATE = calling("delegate_work_to_coworker", task="dig", context="all of it", coworker="Miner")
MINE = {
    "agents": {"boss": agent("Boss", allow_delegation=True), "miner": agent("Miner")},
    "tasks": {"ore": task("boss", "Find ore")},
}


async def test_an_error_in_delegated_work_is_the_step_s(adapter: Adapter, server: ModelServer) -> None:
    server.set_script([DELEGATE, {"when": {"system": "Miner"}, "reply": {"error": {"status": 503}}}])
    with pytest.raises(openai.InternalServerError):
        await step(adapter, server, MINE)
    assert [call.status for call in server.calls] == [200, 503]


async def test_an_error_while_planning_is_the_step_s(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": {"a": agent("A", planning=True)}, "tasks": {"t": task("a", "do")}}
    server.set_script([{"reply": {"error": {"status": 500}}, "times": 1}])
    with pytest.raises(openai.InternalServerError):
        await step(adapter, server, definition)
    assert len(server.calls) == 1


async def test_planning_happens_inside_the_step(adapter: Adapter, server: ModelServer) -> None:
    definition = {
        "agents": {"a": agent("A", planning_config={"max_attempts": 1, "reasoning_effort": "low"})},
        "tasks": {"t": task("a", "do")},
    }
    bodies = []
    for _ in range(2):
        server.log.clear()
        result = await step(adapter, server, definition)
        assert result.next_step is None
        bodies.append([json.dumps(call.body) for call in server.calls])
    assert len(bodies[0]) > 1
    assert bodies[0] == bodies[1]


async def test_several_tools_at_once(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": {"a": agent("A", tools=["calculator"])}, "tasks": {"t": task("a", "add")}}
    calls = [{"name": "calculator", "arguments": {"expression": f"{n}+{n}"}} for n in range(4)]
    server.set_script([{"when": {"not_called": "calculator"}, "reply": {"tool_calls": calls}}])
    tools = MemoryToolBox()
    await step(adapter, server, definition, tools=tools)
    assert len(tools.calls) == 4
    answers = [message["content"] for message in server.calls[1].body["messages"] if message["role"] == "tool"]
    assert answers == ["0", "2", "4", "6"]


async def test_a_platform_error_in_a_tool_call_is_the_step_s(adapter: Adapter, server: ModelServer) -> None:
    class Stale(MemoryToolBox):
        async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Any:
            raise StepError("a newer attempt is running")

    definition = {"agents": {"a": agent("A", tools=["calculator"])}, "tasks": {"t": task("a", "add")}}
    server.set_script([calling("calculator", expression="1+1")])
    with pytest.raises(StepError, match="newer attempt"):
        await step(adapter, server, definition, tools=Stale())
    assert len(server.calls) == 1


@pytest.mark.parametrize("named", ["openai/gpt-4o", "anthropic/claude-x", "gemini/g", "o3-mini", "groq/llama", "x y"])
async def test_models_are_asked_by_the_name_they_have(adapter: Adapter, server: ModelServer, named: str) -> None:
    definition = {"agents": {"a": agent("A", llm=named)}, "tasks": {"t": task("a", "do")}}
    await step(adapter, server, definition)
    assert [call.body["model"] for call in server.calls] == [named]


async def test_parameters_of_models_are_passed_on(adapter: Adapter, server: ModelServer) -> None:
    llm = {"model": "m", "temperature": 0.25, "max_tokens": 99, "seed": 7, "top_p": 0.5, "stream": True, "timeout": 1}
    await step(adapter, server, {"agents": {"a": agent("A", llm=llm)}, "tasks": {"t": task("a", "do")}})
    body = server.calls[0].body
    assert {key: body.get(key) for key in ("model", "temperature", "max_tokens", "seed", "top_p", "stream")} == {
        "model": "m",
        "temperature": 0.25,
        "max_tokens": 99,
        "seed": 7,
        "top_p": 0.5,
        "stream": None,
    }


async def test_no_model_is_named_anywhere(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": {"a": agent("A")}, "tasks": {"t": task("a", "do")}}
    context = StepContext("run", 0, 1, ModelEndpoint(server.base_url, "key", ""), MemoryToolBox())
    with pytest.raises(BadDefinition, match="model"):
        await adapter.run_step(definition, adapter.start(definition, {}), context)


async def test_a_task_sees_what_its_context_says(adapter: Adapter, server: ModelServer) -> None:
    definition = {
        "agents": {"a": agent("A")},
        "tasks": {
            "one": task("a", "first"),
            "two": task("a", "second", context=[]),
            "three": task("a", "third", context=["one"]),
            "four": task("a", "fourth"),
        },
    }
    server.set_script(
        [
            {"when": {"last": f"Task: {word}"}, "reply": {"content": f"<{word}>"}}
            for word in ("first", "second", "third")
        ]
    )
    state = adapter.start(definition, {})
    for _ in range(4):
        state = (await step(adapter, server, definition, state)).state
    seen = [[word for word in ("<first>", "<second>", "<third>") if word in text] for text in asked(server)]
    assert seen == [[], [], ["<first>"], ["<first>", "<second>", "<third>"]]


async def test_an_edited_state_and_definition_are_used(adapter: Adapter, server: ModelServer) -> None:
    definition: Any = {
        "agents": {"a": agent("A")},
        "tasks": {"one": task("a", "first {x}"), "two": task("a", "second {x}")},
        "inputs": {"x": "old"},
    }
    state = json.loads(to_bytes((await step(adapter, server, definition)).state))
    state["outputs"][0]["raw"] = "edited by hand"
    state["inputs"]["x"] = "new"
    definition["tasks"]["two"]["description"] = "another task {x}"
    await step(adapter, server, definition, state)
    assert "another task new" in asked(server)[-1]
    assert "edited by hand" in asked(server)[-1]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"inputs": {}, "outputs": {}},
        {"inputs": {}, "outputs": [5]},
        {"inputs": {}, "outputs": [{"raw": 5}]},
        {"inputs": {}, "outputs": []},
        {"inputs": {"x": 1}, "outputs": [{"raw": "done"}]},
    ],
)
async def test_what_cannot_go_on_is_not_retried(adapter: Adapter, server: ModelServer, state: JsonObject) -> None:
    definition = {"agents": {"a": agent("A")}, "tasks": {"t": task("a", "do {x}")}}
    before = copy.deepcopy(state)
    with pytest.raises(BadDefinition):
        await step(adapter, server, definition, {**state})
    assert state == before
    assert server.calls == []


async def test_a_guardrail_that_stays_unhappy_ends_the_run(adapter: Adapter, server: ModelServer) -> None:
    definition = {
        "agents": {"a": agent("A")},
        "tasks": {"t": task("a", "do", guardrails=["be good"], guardrail_max_retries=1)},
    }
    server.set_script([{"when": {"system": "Guardrail"}, "reply": {"json": {"valid": False, "feedback": "bad"}}}])
    with pytest.raises(StepError, match="bad") as rejected:
        await step(adapter, server, definition)
    assert not rejected.value.retryable
    assert len(server.calls) == 4


async def test_an_error_in_a_guardrail_is_the_step_s(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": {"a": agent("A")}, "tasks": {"t": task("a", "do", guardrail="be good")}}
    server.set_script([{"when": {"system": "Guardrail"}, "reply": {"error": {"status": 429, "retry_after": 30}}}])
    with pytest.raises(openai.RateLimitError):
        await step(adapter, server, definition)
    assert len(server.calls) == 2


async def test_the_loop_stays_free_while_a_guardrail_asks(adapter: Adapter, server: ModelServer) -> None:
    """CrewAI blocks its event loop there; it must not be the worker's."""
    definition = {"agents": {"a": agent("A")}, "tasks": {"t": task("a", "do", guardrail="be good")}}
    server.set_script([{"when": {"system": "Guardrail"}, "reply": {"json": {"valid": True}}, "gate": "judge"}])
    running = asyncio.create_task(step(adapter, server, definition))
    await asyncio.to_thread(server.wait_until_held)
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    await asyncio.to_thread(server.wait_for, lambda calls: calls[-1].state == "disconnected", 60)


async def test_a_conversation_that_is_too_long_does_not_end_the_worker(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": {"a": agent("A", respect_context_window=False)}, "tasks": {"t": task("a", "do")}}
    message = "This model's maximum context length is 10 tokens"
    server.set_script([{"reply": {"error": {"status": 400, "message": message}}}])
    with pytest.raises(StepError) as given_up:
        await step(adapter, server, definition)
    assert not given_up.value.retryable


async def test_cancelling_ends_delegated_work_too(adapter: Adapter, server: ModelServer) -> None:
    server.set_script([DELEGATE, {"when": {"system": "Miner"}, "reply": {"content": "dug"}, "gate": "mine"}])
    running = asyncio.create_task(step(adapter, server, MINE))
    await asyncio.to_thread(server.wait_until_held)
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    await asyncio.to_thread(server.wait_for, lambda calls: calls[-1].state == "disconnected", 60)
    server.release("mine")
    result = await step(adapter, server, MINE)
    assert result.unit["agent"] == "Boss"
    assert len(server.calls) == 2 + 3


async def test_the_first_failure_of_concurrent_tasks_ends_the_others(adapter: Adapter, server: ModelServer) -> None:
    definition = {
        "agents": {"a": agent("A")},
        "tasks": {name: task("a", f"do {name}", async_execution=True) for name in ("left", "right")},
    }
    server.set_script(
        [
            {"when": {"any": "do left"}, "reply": {"hang": True}},
            {"when": {"any": "do right"}, "reply": {"error": {"status": 400}}, "gate": "both"},
        ]
    )
    running = asyncio.create_task(step(adapter, server, definition))
    await asyncio.to_thread(server.wait_for_calls, 2)
    server.release("both")
    with pytest.raises(openai.BadRequestError):
        await running
    await asyncio.to_thread(server.wait_for, _one_disconnected, 5)


def _one_disconnected(calls: Sequence[Any]) -> bool:
    return sorted(call.state for call in calls) == ["disconnected", "finished"]


async def test_structured_answers(adapter: Adapter, server: ModelServer) -> None:
    schema = {"title": "Count", "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for field in ("output_json", "output_pydantic"):
        definition = {"agents": {"a": agent("A")}, "tasks": {"t": task("a", "do", **{field: schema})}}
        server.set_script([{"reply": {"json": {"n": 5}}}])
        result = await step(adapter, server, definition)
        assert result.outputs["json"] == {"n": 5}


async def test_a_crew_that_crewai_cannot_build(adapter: Adapter) -> None:
    broken = {"type": "object", "properties": {"x": {"type": "nonsense"}}}
    definition = {"agents": {"a": agent("A", tools=["nope"])}, "tasks": {"t": task("a", "do", output_json=broken)}}
    (unknown,) = await adapter.check(definition, tools=MemoryToolBox())
    assert unknown.path == "agents.a.tools[0]"
    del definition["agents"]["a"]["tools"]
    (refused,) = await adapter.check(definition, tools=MemoryToolBox())
    assert "nonsense" in refused.message


def test_every_field_that_crewai_reads_is_decided(adapter: Adapter) -> None:
    """Used, refused or left out: a new version's fields are not turned away by accident."""
    from crewai import Agent, Task
    from crewai.project import json_loader

    read_by_crewai: dict[type[Part], set[str]] = {
        AgentSpec: json_loader._agent_allowed_fields(Agent),
        TaskSpec: json_loader._task_allowed_fields(Task),
        CrewFields: json_loader._crew_allowed_fields(),
    }
    inner: dict[type[Part], set[str]] = {
        AgentSpec: {"entity_type", "i18n"},
        TaskSpec: {"prompt_context"},
        CrewFields: {"entity_type", "agents", "tasks"},
    }
    for model, fields in read_by_crewai.items():
        decided = model.model_fields.keys() | REFUSED[model].keys() | LEFT_OUT[model].keys()
        assert fields - inner[model] - decided == set()
    assert LLMSpec.model_fields.keys() & LEFT_OUT[LLMSpec].keys() == set()


async def test_nothing_is_printed(adapter: Adapter, server: ModelServer, capfd: pytest.CaptureFixture[str]) -> None:
    logging.captureWarnings(True)
    server.set_script([DELEGATE])
    await step(adapter, server, MINE)
    assert capfd.readouterr().out == ""


async def test_a_conversation_that_stays_too_long_is_the_endpoints_refusal(
    adapter: Adapter, server: ModelServer
) -> None:
    server.set_script([{"reply": {"error": {"status": 400, "message": "context_length_exceeded"}}}])
    with pytest.raises(Exception, match="context length") as failure:
        await step(adapter, server, {"agents": {"a": agent("A")}, "tasks": {"t": task("a", "Write")}})
    # CrewAI asked for a summary, which was refused as well
    assert len(server.calls) == 2
    assert isinstance(failure.value.__cause__, openai.BadRequestError)
