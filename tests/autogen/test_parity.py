"""A team that runs turn by turn asks its models what AutoGen asks when it runs the same team in one go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from autogen_agentchat import agents, conditions, teams
from autogen_agentchat.base import Handoff, TerminationCondition
from autogen_core.model_context import BufferedChatCompletionContext
from autogen_ext.models.openai import OpenAIChatCompletionClient

from activities.adapters.base import JsonObject
from activities.adapters.registry import definition_for
from tests.autogen.conftest import Runner
from tests.support.model_server import ModelServer

TASK = "Settle the matter of the tea."


def assistant(client: OpenAIChatCompletionClient, name: str, **options: Any) -> agents.AssistantAgent:
    return agents.AssistantAgent(
        name, client, system_message=f"You are {name}.", description=f"{name} works.", **options
    )


def round_robin(client: OpenAIChatCompletionClient) -> teams.BaseGroupChat:
    ends: TerminationCondition = conditions.TextMentionTermination("DONE") | (
        conditions.MaxMessageTermination(9) & conditions.SourceMatchTermination(["b"])
    )
    context = BufferedChatCompletionContext(buffer_size=3)
    first, second = assistant(client, "a", model_context=context), assistant(client, "b", handoffs=["a"])
    return teams.RoundRobinGroupChat([first, second], termination_condition=ends)


def selector(client: OpenAIChatCompletionClient) -> teams.BaseGroupChat:
    members = [assistant(client, name) for name in ("a", "b", "c")]
    return teams.SelectorGroupChat(list(members), client, max_turns=4, model_context=BufferedChatCompletionContext(2))


def swarm(client: OpenAIChatCompletionClient) -> teams.BaseGroupChat:
    handoff = Handoff(target="b", name="pass_on", message="Your turn, b.")
    first = assistant(client, "a", handoffs=[handoff])
    return teams.Swarm([first, assistant(client, "b", handoffs=["a"])], max_turns=4)


def graph_flow(client: OpenAIChatCompletionClient) -> teams.BaseGroupChat:
    a, b, c, d = (assistant(client, name) for name in "abcd")
    builder = teams.DiGraphBuilder()
    for node in (a, b, c, d):
        builder.add_node(node)
    builder.add_edge(a, b).add_edge(b, a, condition="AGAIN").add_edge(b, c, condition="ON").add_edge(c, d)
    builder.set_entry_point(a)
    return teams.GraphFlow([a, b, c, d], builder.build(), max_turns=9)


RULES: dict[str, Sequence[JsonObject]] = {
    "round_robin": [{"when": {"system": "You are b", "any": "Answer .*\n(.*\n)*.*Answer"}, "reply": {"content": "so"}}],
    "selector": [
        {"when": {"any": "(?s)Read the above conversation.*"}, "reply": {"content": "b"}, "times": 1},
        {"when": {"any": "(?s)Read the above conversation.*"}, "reply": {"content": "nobody"}, "times": 1},
        {"when": {"any": "(?s)Read the above conversation.*"}, "reply": {"content": "c"}},
    ],
    "swarm": [
        {"when": {"system": "You are a", "not_called": "pass_on"}, "reply": {"tool_calls": [{"name": "pass_on"}]}},
        {
            "when": {"system": "You are b", "not_called": "transfer_to_a"},
            "reply": {"tool_calls": [{"name": "transfer_to_a"}]},
        },
    ],
    "graph_flow": [
        {"when": {"system": "You are b"}, "reply": {"content": "AGAIN"}, "times": 2},
        {"when": {"system": "You are b"}, "reply": {"content": "ON"}},
    ],
}


@pytest.mark.parametrize("make", [round_robin, selector, swarm, graph_flow])
async def test_requests_are_autogens_own(runner: Runner, make: Any) -> None:
    rules = RULES[make.__name__]
    with ModelServer(rules) as whole:
        client = OpenAIChatCompletionClient(model="gpt-4o", base_url=whole.base_url, api_key="key", temperature=0.5)
        native = make(client)
        definition: JsonObject = json.loads(native.dump_component().model_dump_json())
        result = await native.run(task=TASK)
        await client.close()
    assert definition_for("autogen").validate(definition, tools=frozenset()) == []
    runner.server.set_script(rules)
    outputs = await runner.run(definition, {"task": TASK})
    assert runner.asked() == [dict(call.body) for call in whole.calls]
    assert len(whole.calls) >= 3
    said = [message for message in result.messages if message.type.endswith("Message")]
    assert [one["content"] for one in outputs["messages"]] == [message.to_text() for message in said]
    assert outputs["stop_reason"] == result.stop_reason
