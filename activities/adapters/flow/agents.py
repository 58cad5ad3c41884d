"""The agents of a flow as definitions of their own frameworks. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from activities.adapters.base import FrameworkDefinition, JsonObject
from activities.adapters.flow.reading import Agent, FlowStep
from activities.adapters.registry import PACKAGES, definition_for
from activities.contracts.reading import is_section

#: The frameworks that agents may use.
INNER_FRAMEWORKS: Final = tuple(sorted(name for name in PACKAGES if name != "flow"))


def half_of(agent: Agent) -> FrameworkDefinition:
    """The pure half of an agent's framework. Raises `InvalidInput` for an unknown one."""
    return definition_for(agent.framework)


def is_the_runs(key: str, value: Any) -> bool:
    """Whether a field of a config is for the run, and the framework does not know it."""
    return key == "recovery_policies" or is_section(key, value)


def inner_definition(agent: Agent, step: FlowStep) -> JsonObject:
    """What the agent's framework is to run in a step. One agent of a crew becomes a crew of one task."""
    bare = {key: value for key, value in agent.config.items() if not is_the_runs(key, value)}
    if not agent.is_lone:
        return bare
    task = {"description": "{task}", "expected_output": expected_output(step), "agent": agent.id}
    return {"agents": {agent.id: _lone_agent(bare)}, "tasks": {step.name: task}}


def outer_path(agent: Agent, step: FlowStep, path: str) -> str:
    """Where in the flow a place of `inner_definition` lies."""
    config = f"{agent.path}.config"
    if not agent.is_lone:
        return f"{config}.{path}" if path and not path.startswith("[") else f"{config}{path}"
    prefix = f"agents.{agent.id}"
    if path == prefix or path.startswith(f"{prefix}."):
        return config + path.removeprefix(prefix)
    return step.path if path else config


def expected_output(step: FlowStep) -> str:
    """What the task of a lone agent is expected to give, so that the outputs of the step can be found in it."""
    if step.part.expected_output is not None:
        return step.part.expected_output
    if step.part.outputs is None:
        return "The result."
    names = [json.dumps(path[0] if path else name) for name, path in step.outputs.items()]
    if len(names) == 1 and not isinstance(step.part.outputs, dict):
        return f"The {next(iter(step.outputs)).replace('_', ' ')}, and nothing else."
    return f"A JSON object with the fields {', '.join(names)}, and nothing else."


def _lone_agent(config: JsonObject) -> JsonObject:
    agent = {"backstory": "", **config}
    agent.pop("name", None)
    if isinstance(agent.get("tools"), list):
        agent["tools"] = [_tool_name(tool) for tool in agent["tools"]]
    return agent


def _tool_name(tool: Any) -> Any:
    """A tool by its name: what else is said of it is the operator's to register."""
    return tool["name"] if isinstance(tool, Mapping) and isinstance(tool.get("name"), str) else tool
