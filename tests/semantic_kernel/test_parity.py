"""Step by step, a model is asked exactly what Semantic Kernel's own orchestrations ask it when they run at one go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from openai import AsyncOpenAI
from semantic_kernel.agents import (
    ChatCompletionAgent,
    ConcurrentOrchestration,
    GroupChatOrchestration,
    HandoffOrchestration,
    MagenticOrchestration,
    OrchestrationHandoffs,
    RoundRobinGroupChatManager,
    SequentialOrchestration,
    StandardMagenticManager,
)
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.contents import AuthorRole, ChatHistory, ChatMessageContent
from semantic_kernel.functions import kernel_function

from activities.adapters.base import Adapter, JsonObject
from tests.semantic_kernel.support import agent, calling, run
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

TASK = "Tell about tea & <rain>"
TEAM = [
    agent("writer", "You write.", description="Writes texts"),
    agent("critic", "You judge.", description="Judges texts"),
    agent("editor", "You edit.", description="Edits texts"),
]


def services(server: ModelServer) -> OpenAIChatCompletion:
    client = AsyncOpenAI(base_url=server.base_url, api_key="placeholder", max_retries=0)
    return OpenAIChatCompletion(ai_model_id="default-model", async_client=client)


def members(server: ModelServer, team: Sequence[JsonObject]) -> list[Any]:
    return [
        ChatCompletionAgent(
            name=one["name"],
            description=one.get("description"),
            instructions=one["instructions"],
            service=services(server),
        )
        for one in team
    ]


async def at_one_go(orchestration: Any) -> None:
    runtime = InProcessRuntime()
    runtime.start()
    try:
        result = await orchestration.invoke(task=TASK, runtime=runtime)
        await result.get(timeout=60)
        await runtime.stop_when_idle()
    finally:
        # What still waits in its queue is no part of the test.
        if runtime._run_context is not None:
            await runtime.stop()


def bodies(server: ModelServer) -> list[Any]:
    return [call.body for call in server.calls]


async def test_sequential(adapter: Adapter, server: ModelServer) -> None:
    await run(adapter, server, {"agents": TEAM}, {"task": TASK})
    with ModelServer() as other:
        await at_one_go(SequentialOrchestration(members=members(other, TEAM)))
        assert bodies(server) == bodies(other)
        assert len(bodies(server)) == 3


async def test_concurrent(adapter: Adapter, server: ModelServer) -> None:
    await run(adapter, server, {"agents": TEAM, "orchestration": "concurrent"}, {"task": TASK})
    with ModelServer() as other:
        await at_one_go(ConcurrentOrchestration(members=members(other, TEAM)))
        assert sorted(map(str, bodies(server))) == sorted(map(str, bodies(other)))
        assert len(bodies(server)) == 3


async def test_group_chat(adapter: Adapter, server: ModelServer) -> None:
    definition = {"agents": TEAM, "orchestration": {"type": "group_chat", "max_rounds": 5}}
    await run(adapter, server, definition, {"task": TASK})
    with ModelServer() as other:
        manager = RoundRobinGroupChatManager(max_rounds=5)
        await at_one_go(GroupChatOrchestration(members=members(other, TEAM), manager=manager))
        assert bodies(server) == bodies(other)
        assert len(bodies(server)) == 5


async def test_group_chat_with_a_person(adapter: Adapter, server: ModelServer) -> None:
    class Asking(RoundRobinGroupChatManager):
        async def should_request_user_input(self, chat_history: ChatHistory) -> Any:
            result = await super().should_request_user_input(chat_history)
            result.result = chat_history.messages[-1].name == "critic"
            return result

    definition = {"agents": TEAM, "orchestration": {"type": "group_chat", "max_rounds": 5, "human": ["critic"]}}
    answers = {"human-1": "Shorter.", "human-2": "Good."}
    await run(adapter, server, definition, {"task": TASK}, answers=answers)
    said = iter(answers.values())
    with ModelServer() as other:
        manager = Asking(
            max_rounds=5,
            human_response_function=lambda _history: ChatMessageContent(role=AuthorRole.USER, content=next(said)),
        )
        await at_one_go(GroupChatOrchestration(members=members(other, TEAM), manager=manager))
        assert bodies(server) == bodies(other)
        assert len(bodies(server)) == 5


HANDOFFS = [
    {"from": "writer", "to": "critic", "description": "Wants a judgement"},
    {"from": "writer", "to": "editor"},
    {"from": "critic", "to": "writer", "description": "Wants a text"},
]
HANDING = [
    {
        "when": {"system": "You judge", "any": "Better"},
        "reply": calling("Handoff-complete_task", task_summary="It is good."),
    },
    {"when": {"system": "You judge", "any": "Once more"}, "reply": calling("Handoff-transfer_to_writer")},
    {"when": {"system": "You judge"}, "reply": {"content": "Not yet."}},
    {
        "when": {"system": "You write", "called": "Handoff-transfer_to_critic"},
        "reply": {"content": "Better: tea."},
    },
    {"when": {"system": "You write"}, "reply": {"content": "I ask.", **calling("Handoff-transfer_to_critic")}},
]


@pytest.mark.parametrize("asks", [True, False])
async def test_handoff(adapter: Adapter, server: ModelServer, asks: bool) -> None:
    kind = {"type": "handoff", "start": "writer", "handoffs": HANDOFFS, "human": asks}
    # The person answers the critic, then the writer, who completes nothing: the critic is asked in vain.
    answers = {"human-1": "Once more", "human-2": "Thanks", "human-3": "Bye"}
    rules = [
        {
            "when": {"system": "You write", "last": "Thanks"},
            "reply": calling("Handoff-complete_task", task_summary="Done."),
        },
        *HANDING,
    ]
    server.set_script(rules)
    result = await run(adapter, server, {"agents": TEAM, "orchestration": kind}, {"task": TASK}, answers=answers)
    said = iter(answers.values())
    with ModelServer(rules) as other:
        writer, critic, editor = members(other, TEAM)
        handoffs = OrchestrationHandoffs()
        handoffs.add(writer, critic, "Wants a judgement").add(writer, editor).add(critic, writer, "Wants a text")

        def answer() -> ChatMessageContent:
            return ChatMessageContent(role=AuthorRole.USER, content=next(said))

        human = answer if asks else None
        team = [writer, critic, editor]
        await at_one_go(HandoffOrchestration(members=team, handoffs=handoffs, human_response_function=human))
        assert bodies(server) == bodies(other)
    assert result.outputs["raw"] == ("Done." if asks else "Not yet.")


def ledger(satisfied: bool, speaker: str = "writer", progress: bool = True) -> JsonObject:
    def item(answer: str | bool) -> JsonObject:
        return {"reason": "r", "answer": answer}

    return {
        "json": {
            "is_request_satisfied": item(satisfied),
            "is_in_loop": item(False),
            "is_progress_being_made": item(progress),
            "next_speaker": item(speaker),
            "instruction_or_question": item(f"Go on, {speaker}."),
        }
    }


async def test_magentic(adapter: Adapter, server: ModelServer) -> None:
    """Two turns, then the team is stuck and planned anew, then one turn and the answer."""
    asks = {"last": "next_speaker"}
    rules: list[JsonObject] = [
        {"when": asks, "reply": ledger(False, "writer"), "times": 1},
        {"when": asks, "reply": ledger(False, "critic", progress=False), "times": 1},
        {"when": asks, "reply": ledger(False, "critic", progress=False), "times": 1},
        {"when": asks, "reply": ledger(False, "editor"), "times": 1},
        {"when": asks, "reply": ledger(True)},
    ]
    server.set_script(rules)
    kind = {"type": "magentic", "manager": {"max_stall_count": 1}}
    result = await run(adapter, server, {"agents": TEAM, "orchestration": kind}, {"task": TASK})
    with ModelServer(rules) as other:
        manager = StandardMagenticManager(chat_completion_service=services(other), max_stall_count=1)
        await at_one_go(MagenticOrchestration(members=members(other, TEAM), manager=manager))
        assert bodies(server) == bodies(other)
        assert len(bodies(server)) == 13
    assert result.outputs["raw"].startswith("Answer ")


async def test_tools(adapter: Adapter, server: ModelServer) -> None:
    """Tools have the names that they are registered under; all else in the requests is the framework's."""

    class Plugin:
        @kernel_function(name="calculator", description=MemoryToolBox().specs(["calculator"])[0].description)
        def calculator(self, expression: str) -> str:
            return "42"

    rules = [
        {"when": {"system": "You count", "not_called": "calculator"}, "reply": calling("calculator", expression="6*7")},
    ]
    server.set_script(rules)
    counting = agent("counter", "You count.")
    await run(adapter, server, {"agents": [{**counting, "tools": ["calculator"]}]}, {"task": TASK})
    other_rules = [{"when": {"not_called": "tools-calculator"}, "reply": calling("tools-calculator", expression="6*7")}]
    with ModelServer(other_rules) as other:
        [counter] = members(other, [counting])
        counter.kernel.add_plugin(Plugin(), plugin_name="tools")
        await at_one_go(SequentialOrchestration(members=[counter]))
        ours, theirs = bodies(server), bodies(other)
    for body in ours + theirs:
        for tool in body.pop("tools"):
            assert tool["function"]["name"].removeprefix("tools-") == "calculator"
    # Ids of calls are the model's.
    assert [re.sub(r"call_\w+", "call", str(body)) for body in ours] == [
        re.sub(r"call_\w+", "call", str(body)).replace("tools-calculator", "calculator") for body in theirs
    ]
