"""Component JSON for tests, as AutoGen Studio exports it."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


def model(name: str | None = None, **config: Any) -> JsonObject:
    return {
        "provider": "autogen_ext.models.openai.OpenAIChatCompletionClient",
        "component_type": "model",
        "version": 1,
        "component_version": 1,
        "label": "OpenAIChatCompletionClient",
        "config": ({"model": name} if name else {}) | config,
    }


def tool(name: str) -> JsonObject:
    """A tool as an export holds it: with source code, which must not run."""
    code = f"def {name}(**arguments):\n    raise SystemExit('the source code of a tool was executed')\n"
    return {
        "provider": "autogen_core.tools.FunctionTool",
        "component_type": "tool",
        "config": {"source_code": code, "name": name, "description": "A tool.", "global_imports": ["os"]},
    }


def agent(name: str, **config: Any) -> JsonObject:
    tools = config.pop("tools", None)
    workbench = {
        "provider": "autogen_core.tools.StaticStreamWorkbench",
        "component_type": "workbench",
        "config": {"tools": [tool(one) for one in tools or ()]},
    }
    return {
        "provider": "autogen_agentchat.agents.AssistantAgent",
        "component_type": "agent",
        "version": 2,
        "component_version": 2,
        "config": {
            "name": name,
            "description": f"The agent {name}.",
            "model_client": model(),
            "workbench": [workbench],
            "model_context": {
                "provider": "autogen_core.model_context.UnboundedChatCompletionContext",
                "config": {},
            },
            "model_client_stream": False,
            "reflect_on_tool_use": False,
            "tool_call_summary_format": "{result}",
            "metadata": {},
            "system_message": f"You are {name}.",
            **config,
        },
    }


def person(name: str) -> JsonObject:
    config = {"name": name, "description": "A person."}
    return {"provider": "autogen_agentchat.agents.UserProxyAgent", "component_type": "agent", "config": config}


def condition(kind: str, **config: Any) -> JsonObject:
    return {"provider": f"autogen_agentchat.conditions.{kind}", "component_type": "termination", "config": config}


def either(*conditions: JsonObject) -> JsonObject:
    return {
        "provider": "autogen_agentchat.base.OrTerminationCondition",
        "component_type": "termination",
        "config": {"conditions": list(conditions)},
    }


def team(kind: str, *participants: JsonObject, **config: Any) -> JsonObject:
    return {
        "provider": f"autogen_agentchat.teams.{kind}",
        "component_type": "team",
        "version": 1,
        "component_version": 1,
        "label": kind,
        "config": {"participants": list(participants), **config},
    }


def graph(*edges: str, **conditions: str) -> JsonObject:
    """A graph from edges such as `a -> b`; `conditions` by the names of both ends, as in `a_b="done"`."""
    nodes: JsonObject = {}
    for edge in edges:
        source, target = edge.split(" -> ")
        for name in (source, target):
            nodes.setdefault(name, {"name": name, "edges": [], "activation": "all"})
        one = {"target": target, "condition": conditions.get(f"{source}_{target}"), "activation_group": target}
        nodes[source]["edges"].append(one | {"activation_condition": "all"})
    return {"nodes": nodes, "default_start_node": None}
