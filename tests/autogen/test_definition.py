"""How definitions are read: wrappings, older shapes, what is refused and what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from activities.adapters.autogen.definition import DEFINITION
from activities.adapters.base import Edit, JsonObject
from tests.autogen.teams import agent, condition, either, graph, model, person, team, tool

TOOLS = frozenset({"calculator", "http_request"})
EXAMPLES = Path(__file__).parents[2] / "examples"


def problems(definition: JsonObject) -> list[str]:
    return [problem.path for problem in DEFINITION.validate(definition, tools=TOOLS)]


def warnings(definition: JsonObject) -> str:
    return "\n".join(DEFINITION.plan(definition, {}).warnings)


PLAIN = team("RoundRobinGroupChat", agent("a", tools=["calculator"]), agent("b"), max_turns=2)

#: As the first releases of AutoGen Studio wrote a team.
OLD: JsonObject = {
    "name": "old_team",
    "team_type": "RoundRobinGroupChat",
    "participants": [
        {
            "name": "a",
            "agent_type": "AssistantAgent",
            "model_client": {"model": "gpt-4o", "model_type": "OpenAIChatCompletionClient"},
            "tools": [{"name": "calculator", "description": "Counts.", "content": "raise SystemExit"}],
        }
    ],
    "termination_condition": {"termination_type": "MaxMessageTermination", "max_messages": 2},
    "model_client": None,
}

#: An agent of version 1, whose tools are its own.
VERSION_1 = agent("a", workbench=None) | {"version": 1, "component_version": 1}
VERSION_1["config"] = {**VERSION_1["config"], "tools": [tool("calculator")]}


@pytest.mark.parametrize(
    "definition",
    [
        PLAIN,
        {"component": PLAIN, "id": 3, "user_id": "someone"},
        {"teams": [PLAIN]},
        {"components": {"teams": [{"component": PLAIN}], "agents": []}},
        {"config": {"components": {"teams": [PLAIN]}}},
        agent("a"),
        OLD,
        VERSION_1,
        team("RoundRobinGroupChat", VERSION_1),
        agent("a", workbench=None) | {"provider": "autogen_agentchat.agents._assistant_agent.AssistantAgent"},
        agent("a", model_client={"provider": "azure_openai_chat_completion_client", "config": {"model": "x"}}),
        team("Swarm", agent("a", handoffs=["b", "user"]), agent("b", handoffs=["a"])),
        team("Swarm", agent("a", handoffs=["person"]), person("person")),
        json.loads((EXAMPLES / "autogen_team.json").read_text())["workflow_definition"],
    ],
)
def test_definitions_that_are_accepted(definition: JsonObject) -> None:
    assert problems(definition) == []
    assert DEFINITION.plan(definition, {"task": "x"}).steps[0].startswith("turn 1")
    jsonschema.validate(definition, DEFINITION.json_schema())


@pytest.mark.parametrize("entry", ["calculator", {"name": "calculator"}, tool("calculator")])
def test_tools_are_named_in_several_ways(entry: Any) -> None:
    definition = agent("a", workbench=None)
    definition["config"]["tools"] = [entry]
    assert problems(definition) == []
    assert not DEFINITION.needs_worker(definition, tools=TOOLS)
    assert DEFINITION.needs_worker(definition, tools=frozenset())


NODES = graph("a -> b")["nodes"]

#: Conditions inside conditions, deeper than anybody would write them.
DEEP: JsonObject = {"termination_condition": condition("StopMessageTermination")}
for _ in range(30):
    DEEP["termination_condition"] = either(DEEP["termination_condition"])


@pytest.mark.parametrize(
    ("path", "definition"),
    [
        ("provider", {}),
        ("teams", {"teams": []}),
        ("teams", {"teams": [PLAIN, PLAIN]}),
        ("provider", {"provider": 7, "config": {}}),
        ("provider", {"provider": "builtins.eval", "config": {}}),
        # the right name in a module that is not AutoGen's
        ("provider", PLAIN | {"provider": "evil.teams.RoundRobinGroupChat"}),
        ("component.provider", {"component": {"provider": "autogen_agentchat.teams.RoundRobin", "config": {}}}),
        ("config", {"provider": "autogen_agentchat.teams.Swarm", "config": []}),
        ("config.participants", team("Swarm")),
        ("config.participants[0]", team("Swarm", "a")),  # type: ignore[arg-type]
        ("config.participants[0].config.name", team("Swarm", agent("not an identifier"))),
        ("config.participants[1].config.name", team("RoundRobinGroupChat", agent("a"), agent("a"))),
        (
            "config.participants[0].provider",
            team("Swarm", {"provider": "autogen_agentchat.agents.CodeExecutorAgent", "config": {}}),
        ),
        ("config.max_turns", team("RoundRobinGroupChat", agent("a"), max_turns=0)),
        ("config.max_turns", team("RoundRobinGroupChat", agent("a"), max_turns="many")),
        (
            "config.termination_condition.provider",
            team("Swarm", agent("a"), termination_condition=condition("FunctionalTermination")),
        ),
        (
            "config.termination_condition.config.conditions[1].config.max_messages",
            team(
                "Swarm",
                agent("a"),
                termination_condition=either(
                    condition("StopMessageTermination"), condition("MaxMessageTermination", max_messages=0)
                ),
            ),
        ),
        (
            "config.termination_condition.config",
            team("Swarm", agent("a"), termination_condition=condition("TokenUsageTermination")),
        ),
        (
            "config.termination_condition.config.conditions[0]",
            team("Swarm", agent("a"), termination_condition=either(None)),  # type: ignore[arg-type]
        ),
        ("config.termination_condition" + ".config.conditions[0]" * 21, team("Swarm", agent("a"), **DEEP)),
        ("config.handoffs[0]", agent("a", handoffs=[""])),
        ("config.model_client.provider", agent("a", model_client={"provider": "os.system", "config": {}})),
        ("config.model_client.config.temperature", agent("a", model_client=model(temperature="hot"))),
        ("config.model_context.provider", agent("a", model_context={"provider": "x.MyContext"})),
        (
            "config.tools[0].config.name",
            agent("a", workbench=None) | {"config": {"name": "a", "tools": [tool("nope")]}},
        ),
        ("config.tools[0].provider", agent("a") | {"config": {"name": "a", "tools": [{"provider": "x.HttpTool"}]}}),
        ("config.workbench[0].provider", agent("a", workbench=[{"provider": "autogen_ext.tools.mcp.McpWorkbench"}])),
        ("config.tool_call_summary_format", agent("a", tool_call_summary_format="{result.__class__}")),
        ("config.tool_call_summary_format", agent("a", tool_call_summary_format="{result:>9999999999}")),
        ("config.selector_prompt", team("SelectorGroupChat", agent("a"), agent("b"), selector_prompt='{"a": 1}')),
        ("config.participants", team("SelectorGroupChat", agent("a"))),
        ("config.participants[0].config.handoffs[0].target", team("Swarm", agent("a", handoffs=[{"target": "c"}]))),
        ("config.handoffs[1]", agent("a", handoffs=["user", {"target": "User"}])),
        ("config.graph", team("GraphFlow", agent("a"))),
        ("config.graph.nodes.b", team("GraphFlow", agent("a"), graph=graph("a -> b"))),
        (
            "config.graph.nodes.a.edges[0].target",
            team("GraphFlow", agent("a"), agent("b"), graph={"nodes": {"a": NODES["a"]}}),
        ),
        (
            "config.graph.nodes.a.edges[0].condition",
            team(
                "GraphFlow",
                agent("a"),
                graph={"nodes": {"a": {"name": "a", "edges": [{"target": "a", "condition": {"python": "x"}}]}}},
            ),
        ),
        ("config.graph", team("GraphFlow", *map(agent, "abc"), graph=graph("a -> b", "b -> a", "b -> c"))),
        (
            "config.graph",
            team(
                "GraphFlow",
                *map(agent, "abcd"),
                graph=graph("d -> a", "a -> b", "b -> a", "b -> c", b_a="AGAIN", b_c="DONE"),
            ),
        ),
        (
            "config.graph.nodes.a.edges",
            team("GraphFlow", *map(agent, "abc"), graph=graph("a -> b", "a -> c", a_b="YES")),
        ),
    ],
)
def test_what_is_wrong_is_told_by_path(path: str, definition: JsonObject) -> None:
    assert path in problems(definition)


@pytest.mark.parametrize(
    ("told", "definition"),
    [
        ("source code of 'calculator' is left out", PLAIN),
        ("memory is left out", agent("a", memory=[{"provider": "x"}])),
        ("base_url is left out", agent("a", model_client=model(base_url="http://x"))),
        (
            "config.sytem_message: unknown field, left out; did you mean 'system_message'?",
            agent("a", sytem_message="x"),
        ),
        ("Nothing ends this team", team("RoundRobinGroupChat", agent("a"))),
        (
            "nothing sets an ExternalTermination",
            team("Swarm", agent("a"), termination_condition=condition("ExternalTermination")),
        ),
        ("runs as one step", team("MagenticOneGroupChat", agent("a"))),
    ],
)
def test_what_is_left_out_is_told(told: str, definition: JsonObject) -> None:
    assert problems(definition) == []
    assert told in warnings(definition)


def test_nothing_is_told_of_what_every_export_holds() -> None:
    definition = team("SelectorGroupChat", agent("a"), agent("b"), model_client=model("gpt-4o"), emit_team_events=True)
    definition["config"]["termination_condition"] = condition("MaxMessageTermination", max_messages=3)
    assert warnings(definition) == ""


@pytest.mark.parametrize("definition", [{"component": PLAIN}, {"teams": [PLAIN]}, OLD])
def test_edits_reach_what_is_wrapped(definition: JsonObject) -> None:
    state = {"inputs": {}, "pending": [{"type": "TextMessage", "source": "user", "content": "x"}]}
    edit = Edit(prompts={"a": "Be kind."}, models={"*": "big"})
    changed, _ = DEFINITION.edit(definition, state, edit)
    assert problems(changed) == []
    text = json.dumps(changed)
    assert '"system_message": "Be kind."' in text
    assert '"model": "big"' in text
    assert "Be kind." not in json.dumps(definition)
