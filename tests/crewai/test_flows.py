"""CrewAI's declarative flows, each of which is one step: what runs, in which order, and what ends it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
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
    ToolFailed,
)
from activities.adapters.crewai.definition import DEFINITION
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.conformance.runs import to_bytes
from tests.crewai.flows import LOOP, LOOP_CALLS, LOOP_RULES, agent, crew, expression, flow
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

EXAMPLE: JsonObject = json.loads((Path(__file__).parents[2] / "examples" / "crewai_flow.json").read_text())


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load_adapter("crewai", Settings(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


async def run(
    adapter: Adapter,
    server: ModelServer,
    definition: JsonObject,
    inputs: JsonObject | None = None,
    tools: MemoryToolBox | None = None,
) -> StepResult:
    assert DEFINITION.validate(definition, tools=MemoryToolBox().names) == []
    context = StepContext("run", 0, 1, ModelEndpoint(server.base_url, "key", "small"), tools or MemoryToolBox())
    async with asyncio.timeout(30):
        return await adapter.run_step(definition, adapter.start(definition, inputs or {}), context)


def speakers(server: ModelServer) -> list[str]:
    """Who asked the model, in order: the role of each call's agent."""
    return [call.body["messages"][0]["content"].split()[2].rstrip(".") for call in server.calls]


async def test_methods_run_one_after_the_other(adapter: Adapter, server: ModelServer) -> None:
    methods = {
        "facts": {"start": True, "do": crew("scout", "Look for {what}", what="${state.what}")},
        "line": {"listen": "facts", "do": crew("poet", "Use {facts}", facts="${outputs.facts.raw} and more")},
    }
    server.set_script(
        [
            {"when": {"last": "Look for foxes"}, "reply": {"content": "two foxes"}},
            {"when": {"last": "Use two foxes and more"}, "reply": {"content": "Foxes run."}},
        ]
    )
    result = await run(adapter, server, flow(methods), {"what": "foxes"})
    assert (result.next_step, result.units) == (None, ("Poems",))
    assert result.outputs["raw"] == "Foxes run."
    assert result.outputs["outputs"]["facts"]["tasks_output"][0]["agent"] == "scout"
    assert result.outputs["state"] == {"what": "foxes"}
    assert result.unit == {"name": "Poems", "output": result.outputs["output"]}
    assert DEFINITION.values(result.state)["line"]["raw"] == "Foxes run."
    assert DEFINITION.view(result.state)["inputs"] == {"what": "foxes"}


async def test_a_router_goes_round_until_it_is_content(adapter: Adapter, server: ModelServer) -> None:
    server.set_script(LOOP_RULES)
    tools = MemoryToolBox()
    result = await run(adapter, server, LOOP, tools=tools)
    assert speakers(server) == ["writer", "critic", "writer", "critic"]
    assert len(server.calls) == LOOP_CALLS
    assert result.outputs["raw"] == "second draft: 24"
    assert tools.calls == [("calculator", '{"expression": "12 * 2"}')]


async def test_a_flow_that_never_ends_is_ended(adapter: Adapter, server: ModelServer) -> None:
    endless = {**LOOP, "config": {"max_method_calls": 3}}
    server.set_script([{"when": {"system": "critic"}, "reply": {"content": "bad"}}])
    with pytest.raises(StepError, match="'draft' has run 3 times") as ended:
        await run(adapter, server, endless)
    assert not ended.value.retryable
    assert len(server.calls) == 6


async def test_many_methods_together_are_bounded_too(adapter: Adapter, server: ModelServer) -> None:
    ring = {
        name: {"start": name == "a", "listen": before, "do": expression("1")}
        for name, before in (("a", "c"), ("b", "a"), ("c", "b"))
    }
    with pytest.raises(StepError, match="has run 1000 methods"):
        await run(adapter, server, flow(ring, config={"max_method_calls": 1000}))


async def test_what_is_due_at_once_takes_turns_in_the_order_of_the_definition(
    adapter: Adapter, server: ModelServer
) -> None:
    methods = {
        "go": {"start": True, "do": expression("1")},
        "left": {"listen": "go", "do": crew("left", "Go left")},
        "right": {"listen": "go", "do": crew("right", "Go right")},
        "after_left": {"listen": "left", "do": crew("follower", "Follow")},
        "join": {"listen": {"and": ["after_left", "right"]}, "do": expression("outputs.after_left.raw")},
    }
    for _ in range(2):
        server.log.clear()
        result = await run(adapter, server, flow(methods))
        assert speakers(server) == ["left", "follower", "right"]
        assert list(result.outputs["outputs"]) == ["go", "left", "after_left", "right", "join"]


async def test_of_methods_that_race_the_first_one_wins(adapter: Adapter) -> None:
    names = ["zebra", "ant", "bee", "cow"]
    racers = {name: {"listen": "go", "do": expression(f"'{name}'")} for name in names}
    methods = {
        "go": {"start": True, "do": expression("1")},
        **racers,
        "won": {"listen": {"or": names}, "do": expression("outputs.zebra")},
    }
    with ModelServer() as server:
        result = await run(adapter, server, flow(methods))
    assert result.outputs["outputs"] == {"go": 1, "zebra": "zebra", "won": "zebra"}


async def test_each_item_goes_through_all_steps(adapter: Adapter, server: ModelServer) -> None:
    steps = [
        {"name": "text", "action": expression("item.name + '!'")},
        {"name": "said", "if": "item.loud", "action": crew("crier", "Cry {what}", what="${outputs.text}")},
        {"name": "sum", "if": "item.loud", "action": expression("outputs.said.raw")},
    ]
    methods = {"all": {"start": True, "do": {"call": "each", "in": "state.items", "do": steps}}}
    server.set_script([{"when": {"last": "Cry fox!"}, "reply": {"content": "FOX"}}])
    items = [{"name": "fox", "loud": True}, {"name": "owl", "loud": False}]
    result = await run(adapter, server, flow(methods), {"items": items})
    assert result.outputs["output"] == ["FOX", "owl!"]
    assert len(server.calls) == 1


async def test_a_crew_s_word_may_route(adapter: Adapter, server: ModelServer) -> None:
    methods = {
        "ask": {"start": True, "router": True, "emit": ["yes", "no"], "do": crew("judge", "Yes or no?")},
        "done": {"listen": "yes", "do": expression("'it is ' + outputs.ask.raw")},
    }
    server.set_script([{"reply": {"content": "yes"}}])
    assert (await run(adapter, server, flow(methods))).outputs["raw"] == "it is yes"


async def test_an_agent_takes_a_conversation_and_uses_tools(adapter: Adapter, server: ModelServer) -> None:
    body = {**agent("clerk", tools=["calculator"]), "input": "${state.talk}"}
    call = {"name": "calculator", "arguments": {"expression": "2+2"}}
    server.set_script(
        [
            {"when": {"tool": "calculator", "not_called": "calculator"}, "reply": {"tool_calls": [call]}},
            {"when": {"last": "^4$"}, "reply": {"content": "four"}},
        ]
    )
    talk = [{"role": "assistant", "content": "Ask me."}, {"role": "user", "content": "What is 2+2?"}]
    definition = flow({"ask": {"start": True, "do": {"call": "agent", "with": body}}})
    result = await run(adapter, server, definition, {"talk": talk})
    assert result.outputs["output"] == {"raw": "four", "pydantic": None, "agent_role": "clerk"}
    assert "What is 2+2?" in json.dumps(server.calls[0].body)
    with pytest.raises(BadDefinition, match="list of messages"):
        await run(adapter, server, definition, {"talk": [{"role": "robot"}]})


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_an_error_of_a_model_is_the_step_s(adapter: Adapter, server: ModelServer, status: int) -> None:
    """Also in one of several methods that are due at once, where CrewAI would get over it."""
    methods = {
        "go": {"start": True, "do": expression("1")},
        **{name: {"listen": "go", "do": crew(name, f"Be {name}")} for name in ("a", "b", "c")},
        "won": {"listen": {"or": ["a", "b"]}, "do": expression("1")},
    }
    server.set_script([{"when": {"system": "You are c"}, "reply": {"error": {"status": status}}}])
    with pytest.raises(openai.APIStatusError) as failed:
        await run(adapter, server, flow(methods))
    assert failed.value.status_code == status


async def test_an_error_of_a_tool_is_the_step_s(adapter: Adapter, server: ModelServer) -> None:
    call = {"call": "tool", "ref": "broken_tool", "with": {"reason": "no ${'pap' + 'er'}"}}
    with pytest.raises(ToolFailed, match="no paper"):
        await run(adapter, server, flow({"try": {"start": True, "do": call}}))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("state.items[3]", "methods.m.do.expr: "),
        ("state.nothing.at.all", "methods.m.do.expr: There is no field 'nothing'"),
        ("timestamp('2026-01-01T00:00:00Z') + duration(state.text)", "methods.m.do.expr: .*no JSON"),
        ("state.items.map(a, state.items.map(b, state.items.map(c, state.items)))", "time or memory|more than 1 MB"),
    ],
)
async def test_an_expression_that_cannot_be_evaluated(
    adapter: Adapter, server: ModelServer, source: str, told: str
) -> None:
    inputs = {"items": list(range(3 if "3" in source else 200)), "text": "1s"}
    with pytest.raises(BadDefinition, match=told):
        await run(adapter, server, flow({"m": {"start": True, "do": expression(source)}}), inputs)


async def test_expressions_are_bounded_together(adapter: Adapter, server: ModelServer) -> None:
    """What is fine by itself may be too much a thousand times: in a text, and for the items of a list."""
    inputs = {"text": "x" * 500_000, "items": list(range(500))}
    each = {"call": "each", "in": "state.items", "do": [{"name": "s", "action": expression("state.text")}]}
    call = {"call": "tool", "ref": "calculator", "with": {"expression": "${state.text}" * 500}}
    for action in (each, call):
        with pytest.raises(BadDefinition, match="too much together"):
            await run(adapter, server, flow({"m": {"start": True, "do": action}}), inputs)


async def test_cancelling_ends_the_call_under_way(adapter: Adapter, server: ModelServer) -> None:
    server.set_script([{"reply": {"content": "x"}, "gate": "held"}])
    running = asyncio.create_task(run(adapter, server, LOOP))
    await asyncio.to_thread(server.wait_until_held)
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    await asyncio.to_thread(server.wait_for, lambda calls: calls[-1].state == "disconnected", 60)


@pytest.mark.thorough
async def test_another_attempt_makes_the_same_calls_in_the_same_order(adapter: Adapter) -> None:
    """In processes whose sets have other orders, as in attempts on different workers."""
    bodies, states = [], []
    for seed in ("1", "2", "3"):
        with ModelServer(LOOP_RULES) as server:
            states.append(await asyncio.to_thread(_run_elsewhere, server.base_url, seed))
            bodies.append([json.dumps(call.body, sort_keys=True) for call in server.calls])
    assert len(bodies[0]) == LOOP_CALLS
    assert bodies[0] == bodies[1] == bodies[2]
    assert states[0] == states[1] == states[2]


def _run_elsewhere(base_url: str, seed: str) -> Any:
    asked = {"framework": "crewai", "definition": LOOP, "inputs": {}, "state": None, "index": 0, "attempt": 1}
    asked |= {"answers": {}, "base_url": base_url, "default_model": "small", "execution_id": "elsewhere"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.step_process"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": seed},
    )
    return json.loads(done.stdout.splitlines()[-1])["state"]


async def test_a_flow_that_has_run_is_done(adapter: Adapter, server: ModelServer) -> None:
    definition = flow({"m": {"start": True, "do": expression("state.id")}})
    result = await run(adapter, server, definition)
    assert result.outputs["raw"] == "run"
    context = StepContext("run", 1, 1, ModelEndpoint(server.base_url, "key", "small"), MemoryToolBox())
    states: list[JsonObject] = [json.loads(to_bytes(result.state)), {"inputs": [], "flow": None}, {"flow": "x"}]
    for state in states:
        with pytest.raises(BadDefinition):
            await adapter.run_step(definition, state, context)


async def test_nothing_is_printed(
    adapter: Adapter, server: ModelServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.set_script(LOOP_RULES)
    await run(adapter, server, LOOP)
    with pytest.raises(BadDefinition):
        await run(adapter, server, flow({"m": {"start": True, "do": expression("state['secret words']")}}))
    assert capfd.readouterr() == ("", "")
    assert "secret words" not in caplog.text


async def test_the_worker_s_part_of_the_judgement(adapter: Adapter) -> None:
    assert await adapter.check(LOOP, tools=MemoryToolBox()) == []
    unknown = json.loads(json.dumps(LOOP).replace('"calculator"', '"abacus"'))
    (problem,) = await adapter.check(unknown, tools=MemoryToolBox())
    assert problem.path == "methods.number.do.ref"
    broken = crew("a", "Do")
    broken["with"]["tasks"][0]["output_json"] = {"type": "object", "properties": {"x": {"type": "nonsense"}}}
    (problem,) = await adapter.check(flow({"m": {"start": True, "do": broken}}), tools=MemoryToolBox())
    assert (problem.path, "nonsense" in problem.message) == ("methods.m.do.with", True)


def test_every_field_of_a_flow_is_decided(adapter: Adapter) -> None:
    """Used, refused or left out: a new version's fields are not turned away by accident."""
    from crewai.flow import flow_definition as theirs

    from activities.adapters.crewai.flows import schema as ours

    pairs: Any = (
        (theirs.FlowDefinition, ours.FlowFields, {"state", "config", "methods"}),
        (theirs.FlowConfigDefinition, ours.ConfigFields, set()),
        (theirs.FlowPydanticStateDefinition, ours.StateFields, set()),
        (theirs.FlowMethodDefinition, ours.MethodFields, set()),
        (theirs.FlowExpressionActionDefinition, ours.ExpressionFields, set()),
        (theirs.FlowCrewActionDefinition, ours.CrewCallFields, set()),
        (theirs.FlowAgentActionDefinition, ours.AgentCallFields, set()),
        (theirs.FlowToolActionDefinition, ours.ToolCallFields, set()),
        (theirs.FlowEachActionDefinition, ours.EachFields, set()),
        (theirs.FlowEachStepDefinition, ours.EachStepFields, set()),
    )
    for their, our, apart in pairs:
        decided = our.model_fields.keys() | ours.REFUSED.get(our, {}).keys() | ours.LEFT_OUT.get(our, {}).keys()
        assert their.model_fields.keys() - decided == apart, our


async def test_the_example_runs(adapter: Adapter, server: ModelServer) -> None:
    definition = EXAMPLE["workflow_definition"]
    server.set_script(
        [
            {"when": {"system": "Editor", "last": "Too long"}, "reply": {"content": "revise: shorter"}},
            {"when": {"system": "Editor"}, "reply": {"content": "publish"}},
            {"when": {"last": "revise: shorter"}, "reply": {"content": "Short and clear."}},
            {"when": {"system": "Writer"}, "reply": {"content": "Too long."}},
        ]
    )
    result = await run(adapter, server, definition, {"topic": "durable runs"})
    assert result.outputs["raw"] == "Short and clear."
    assert len(server.calls) == 4
