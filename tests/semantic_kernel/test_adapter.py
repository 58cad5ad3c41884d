"""What is particular to Semantic Kernel: people, failures that it would swallow, order, states that people edited, quiet."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from activities.adapters.base import (
    Adapter,
    Answer,
    BadDefinition,
    Edit,
    Json,
    JsonObject,
    ModelUnavailable,
    StaleAttempt,
    StepError,
    ToolFailed,
    ToolSpec,
)
from activities.adapters.semantic_kernel.definition import DEFINITION
from activities.loops import LoopThread
from tests.semantic_kernel.support import agent, calling, run, step
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

CHAT: JsonObject = {
    "agents": [agent("writer", "You write."), {"name": "boss", "type": "human"}],
    "orchestration": {"type": "group_chat", "max_rounds": 3},
}


def said(server: ModelServer, call: int) -> list[tuple[str, str]]:
    """What a request holds beside its system message."""
    messages = server.calls[call].body["messages"]
    return [(message["role"], message.get("content", "")) for message in messages if message["role"] != "system"]


# People


async def test_a_person_is_a_member_of_a_group_chat(adapter: Adapter, server: ModelServer) -> None:
    server.set_script([{"when": {"last": "Sweeter"}, "reply": {"content": "Honey."}}, {"reply": {"content": "Tea."}}])
    result = await run(adapter, server, CHAT, {"task": "Say it"}, answers={"boss-1": "Sweeter"})
    assert said(server, 1) == [("user", "Say it"), ("assistant", "Tea."), ("user", "Sweeter")]
    assert result.outputs["raw"] == "Honey."
    assert [message.get("name") for message in result.outputs["messages"]] == [None, "writer", "boss", "writer"]
    assert DEFINITION.plan(CHAT, {}).steps == ("writer", "boss", "round 2 · writer")


async def test_a_question_tells_what_was_said(adapter: Adapter, server: ModelServer) -> None:
    server.set_script([{"reply": {"content": "Tea."}}])
    first = await step(adapter, server, CHAT, adapter.start(CHAT, {"task": "Say it"}))
    asking = await step(adapter, server, CHAT, first.state)
    [interrupt] = asking.interrupts
    assert interrupt.id == "boss-1"
    assert interrupt.title == "writer waits for an answer"
    assert interrupt.question["last"] == "Tea."
    assert interrupt.question["asked_by"] == "writer"
    assert asking.state == first.state


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer("approve"), "Approved."),
        (Answer("reject"), "Rejected."),
        (Answer("edit", "Say more"), "Say more"),
        (Answer("approve", {"b": 1, "a": "é"}), '{"a": "é", "b": 1}'),
    ],
)
async def test_an_answer_becomes_the_persons_message(
    adapter: Adapter, server: ModelServer, answer: Answer, text: str
) -> None:
    first = await step(adapter, server, CHAT, adapter.start(CHAT, {"task": "Say it"}))
    after = await step(adapter, server, CHAT, first.state, answers={"boss-1": answer})
    assert after.state["messages"][-1] == {"role": "user", "name": "boss", "content": text}
    assert after.unit == text
    assert after.units == ("boss",)
    assert after.next_step == "round 2 · writer"


async def test_a_person_in_a_sequence_changes_what_the_next_agent_is_given(
    adapter: Adapter, server: ModelServer
) -> None:
    definition = {"agents": [agent("a", "A"), {"name": "editor", "type": "human"}, agent("b", "B")]}
    await run(adapter, server, definition, {"task": "Go"}, answers={"editor-1": "My own text"})
    assert said(server, 1) == [("user", "My own text")]


async def test_an_agent_hands_over_to_a_person_and_goes_on(adapter: Adapter, server: ModelServer) -> None:
    definition = {
        "agents": [agent("clerk", "You serve."), {"name": "chief", "type": "human", "description": "Knows all"}],
        "orchestration": {"type": "handoff", "handoffs": {"clerk": ["chief"]}},
    }
    server.set_script(
        [
            {"when": {"last": "Allowed"}, "reply": {"content": "You may."}},
            {"when": {"tool": "Handoff-transfer_to_chief"}, "reply": calling("Handoff-transfer_to_chief")},
        ]
    )
    result = await run(adapter, server, definition, {"task": "May I?"}, answers={"chief-1": "Allowed"})
    assert result.outputs["raw"] == "You may."
    tools = {tool["function"]["name"]: tool["function"] for tool in server.calls[0].body["tools"]}
    assert tools["Handoff-transfer_to_chief"]["description"] == "Knows all"


async def test_handoffs_without_an_end_are_ended(adapter: Adapter, server: ModelServer) -> None:
    definition = {
        "agents": [agent("a", "A"), agent("b", "B")],
        "orchestration": {"type": "handoff", "max_turns": 3, "handoffs": {"a": ["b"], "b": ["a"]}},
    }
    server.set_script(
        [
            {"when": {"system": "A"}, "reply": calling("Handoff-transfer_to_b")},
            {"when": {"system": "B"}, "reply": calling("Handoff-transfer_to_a")},
        ]
    )
    with pytest.raises(BadDefinition, match="3 turns"):
        await run(adapter, server, definition, {"task": "Go"})
    assert len(server.calls) == 3


# Tools


class Tools(MemoryToolBox):
    """Tools whose second call is answered before the first one."""

    def __init__(self) -> None:
        super().__init__([])
        self.answered: list[str] = []
        self._second = asyncio.Event()

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        if arguments == {"expression": "1"}:
            await self._second.wait()
        answer = await super().call(name, arguments, errors_as_answers=errors_as_answers)
        self.answered.append(arguments["expression"])
        self._second.set()
        return answer


async def test_calls_at_once_are_answered_in_their_order(adapter: Adapter, server: ModelServer) -> None:
    calls = [{"name": "calculator", "arguments": {"expression": text}} for text in ("1", "2")]
    calls.insert(1, {"name": "unknown_tool", "arguments": {}})
    server.set_script([{"when": {"not_called": "calculator"}, "reply": {"tool_calls": calls}}])
    tools = Tools()
    await run(adapter, server, agent("a", "A", tools=["calculator"]), {"task": "Go"}, tools=tools)
    assert tools.answered == ["2", "1"]
    answers = [text for role, text in said(server, 1) if role == "tool"]
    assert "not part of the provided tools" in answers[0]
    assert answers[1:] == ["1", "2"]


class Closed(MemoryToolBox):
    """A toolbox whose calls fail for a reason that no agent may get over."""

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        raise StaleAttempt("A newer attempt is running.")


@pytest.mark.parametrize("kind", ["sequential", "concurrent", "handoff"])
async def test_a_shut_door_to_tools_ends_the_step(adapter: Adapter, server: ModelServer, kind: str) -> None:
    orchestration: JsonObject = {"type": kind, **({"handoffs": {"a": ["b"]}} if kind == "handoff" else {})}
    definition = {
        "agents": [agent("a", "A", tools=["calculator"]), agent("b", "B")],
        "orchestration": orchestration,
    }
    server.set_script([{"when": {"tool": "calculator"}, "reply": calling("calculator", expression="1")}])
    with pytest.raises(StaleAttempt):
        await step(adapter, server, definition, adapter.start(definition, {"task": "Go"}), tools=Closed())


async def test_a_tool_that_fails_in_a_template_fails_the_step(adapter: Adapter, server: ModelServer) -> None:
    template = "Fix {{broken_tool reason=$why}}"
    definition = {"functions": [{"name": "f", "template": template, "tools": ["broken_tool"]}]}
    with pytest.raises(ToolFailed, match="no paper"):
        await step(adapter, server, definition, adapter.start(definition, {"why": "no paper"}))
    assert server.calls == []


async def test_tools_have_their_own_names_and_schemas(adapter: Adapter, server: ModelServer) -> None:
    class Named(MemoryToolBox):
        def specs(self, names: Sequence[str]) -> list[ToolSpec]:
            schema = {
                "type": "object",
                "properties": {"at": {"$ref": "#/$defs/p"}},
                "$defs": {"p": {"type": "integer"}},
            }
            return [ToolSpec(name, "Looks", schema) for name in names]

        async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
            return {"name": name, "arguments": arguments}

    server.set_script([{"when": {"not_called": "look-up"}, "reply": calling("look-up", at=3)}])
    await run(adapter, server, agent("a", "A", tools=["look-up"]), {"task": "Go"}, tools=Named())
    [tool] = server.calls[0].body["tools"]
    assert tool["function"]["name"] == "look-up"
    assert tool["function"]["parameters"]["$defs"] == {"p": {"type": "integer"}}
    assert said(server, 1)[-1] == ("tool", '{"arguments": {"at": 3}, "name": "look-up"}')


# Failures and cancelling


async def test_a_stream_that_breaks_off_is_a_model_that_is_away(adapter: Adapter, server: ModelServer) -> None:
    server.set_script([{"reply": {"content": "one two three four", "truncate_after": 2}}])
    definition = agent("a", "A")
    with pytest.raises(ModelUnavailable):
        await step(adapter, server, definition, adapter.start(definition, {"task": "Go"}))


@pytest.mark.parametrize("kind", ["sequential", "concurrent", "magentic", "functions"])
async def test_cancelling_drops_the_call_at_once(adapter: Adapter, server: ModelServer, kind: str) -> None:
    server.set_script([{"reply": {"hang": True}}])
    definition: JsonObject = {"agents": [agent("a", "A"), agent("b", "B")], "orchestration": kind}
    if kind == "functions":
        definition = {"functions": [{"name": "f", "template": "Go"}]}
    running = asyncio.create_task(step(adapter, server, definition, adapter.start(definition, {"task": "Go"})))
    calls = 2 if kind == "concurrent" else 1
    await asyncio.to_thread(server.wait_for_calls, calls)
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    await asyncio.to_thread(server.wait_for, lambda calls: all(call.state == "disconnected" for call in calls), 5)


async def test_one_failing_agent_of_several_fails_the_step_with_its_error(
    adapter: Adapter, server: ModelServer
) -> None:
    definition = {"agents": [agent("a", "A"), agent("b", "B")], "orchestration": "concurrent"}
    server.set_script([{"when": {"system": "A"}, "reply": {"error": {"status": 503}}}, {"reply": {"hang": True}}])
    async with asyncio.timeout(60):
        with pytest.raises(ModelUnavailable):
            await step(adapter, server, definition, adapter.start(definition, {"task": "Go"}))


async def test_a_manager_that_makes_no_sense_fails_the_step_for_good(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": [agent("a", "A")], "orchestration": "magentic"}
    server.set_script([{"when": {"last": "next_speaker"}, "reply": {"content": "I do not know"}}])
    with pytest.raises(StepError) as failure:
        await step(adapter, server, definition, adapter.start(definition, {"task": "Go"}))
    assert not failure.value.retryable


# States and definitions that do not fit


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"next": ["nobody"]},
        {"next": []},
        {"messages": "all"},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": []},
    ],
)
async def test_states_that_cannot_be_run_are_refused(adapter: Adapter, server: ModelServer, change: JsonObject) -> None:
    definition = {"agents": [agent("a", "A"), agent("b", "B")]}
    with pytest.raises(BadDefinition):
        await step(adapter, server, definition, adapter.start(definition, {"task": "Go"}) | change)
    assert server.calls == []


async def test_a_worker_finds_what_the_framework_does_not_take(adapter: Adapter) -> None:
    definition = {"agents": [agent("a", "Use {{calculator 'x' $y}}", tools=["calculator", "unknown_tool"])]}
    assert [p.path for p in await adapter.check(definition, tools=MemoryToolBox())] == ["agents[0].tools[1]"]
    definition["agents"][0]["tools"] = ["calculator"]
    assert [p.path for p in await adapter.check(definition, tools=MemoryToolBox())] == ["agents[0].instructions"]


async def test_tool_calls_of_an_agent_stay_with_it_when_the_conversation_is_edited(
    adapter: Adapter, server: ModelServer
) -> None:
    definition = {
        "agents": [agent("a", "A", tools=["calculator"]), agent("b", "B")],
        "orchestration": {"type": "group_chat", "max_rounds": 3},
    }
    server.set_script(
        [
            {"when": {"system": "A", "not_called": "calculator"}, "reply": calling("calculator", expression="6*7")},
            {"when": {"system": "A", "last": "42"}, "reply": {"content": "It is 42."}},
            {"when": {"system": "B"}, "reply": {"content": "Sure?"}},
        ]
    )
    result = await step(adapter, server, definition, adapter.start(definition, {"task": "Go"}))
    result = await step(adapter, server, definition, result.state)
    assert said(server, 2) == [("user", "Go"), ("assistant", "It is 42.")]
    edited, state = DEFINITION.edit(definition, result.state, Edit(values={"last": "Really?"}))
    await step(adapter, server, edited, state)
    assert [role for role, _ in said(server, 3)] == ["user", "assistant", "tool", "assistant", "assistant"]
    assert said(server, 3)[-1] == ("assistant", "Really?")


# Its place in the worker


def test_runs_on_the_workers_loop_and_leaves_it_alone(adapter: Adapter, server: ModelServer) -> None:
    """The framework knows how to patch event loops, which breaks uvloop's."""
    definition = {
        "functions": [
            {
                "name": "f",
                "template": "{{#if a}}{{a}}{{/if}}",
                "template_format": "handlebars",
                "tools": ["calculator"],
            },
            {"name": "g", "template": "{{calculator expression='1'}}", "tools": ["calculator"]},
        ]
    }
    loop = LoopThread("agents")
    try:
        result = asyncio.run(loop.run(run(adapter, server, definition, {"a": "b"})))
    finally:
        loop.stop()
    assert result.next_step is None
    assert "nest_asyncio" in sys.modules
    assert not hasattr(asyncio, "_nest_patched")
    assert type(loop.loop).__module__.startswith("uvloop")


async def test_nothing_that_was_said_is_logged(
    adapter: Adapter, server: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)
    server.set_script([{"when": {"not_called": "nothing"}, "reply": calling("nothing", secret="swordfish")}])
    await run(adapter, server, agent("a", "A", tools=["calculator"]), {"task": "swordfish"})
    assert not [record for record in caplog.records if record.name.startswith("semantic_kernel")]


def test_values_and_view_are_told_without_the_frameworks_part() -> None:
    state: JsonObject = {
        "format": "semantic_kernel/1",
        "inputs": {"task": "Go"},
        "messages": [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "name": "a", "content": "", "calls": [{"id": "1"}], "only": "a"},
            {"role": "assistant", "name": "a", "content": "Done", "but": "a"},
            {"role": "assistant", "name": "b-c", "content": "Seen"},
        ],
        "next": ["a"],
        "turns": {"a": 1},
        "spoken": 2,
        "asked_by": None,
        "results": {},
    }
    values: Any = DEFINITION.values(state)
    assert values.keys() == {"messages", "last", "a"}
    assert values["a"] == "Done"
    assert values["last"] == "Seen"
    assert [message["content"] for message in values["messages"]] == ["Go", "Done", "Seen"]
    assert "calls" not in json.dumps(DEFINITION.view(state))
