"""The part of an edit that concerns one agent, applied by the half of its framework. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from activities.adapters.base import Edit, JsonObject
from activities.adapters.flow.agents import half_of
from activities.adapters.flow.places import stand_in_state
from activities.adapters.flow.reading import Agent
from omium_core.errors import InvalidInput, Problem

Prompt = str | Mapping[str, str]


@dataclass
class InnerEdit:
    """An edit in the words of the agent's framework. `names` maps section and inner name to the name in the whole edit."""

    prompts: dict[str, Prompt] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    values: JsonObject = field(default_factory=dict)
    inputs: JsonObject = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)


def apply_inner(
    agent: Agent, inner: JsonObject, state: JsonObject | None, change: InnerEdit
) -> tuple[JsonObject, JsonObject | None, list[Problem]]:
    """What the agent runs and its state, edited, or the problems. Without a state only prompts and models count."""
    half = half_of(agent)
    edit = Edit(change.prompts, change.models, change.values, change.inputs)
    if state is None:
        edit = Edit(change.prompts, change.models)
    try:
        changed, after = half.edit(inner, stand_in_state(agent, inner) if state is None else state, edit)
    except InvalidInput as error:
        return inner, state, [_outer(problem, change) for problem in error.problems]
    return changed, None if state is None else after, []


def config_of(definition: JsonObject, agent: Agent) -> dict[str, Any]:
    """The `config` of an agent in a definition: the object itself, to be changed."""
    agents = definition["agents"]
    if isinstance(agents, dict):
        # an agent under another key than its id has the id in it
        agents = [{"id": key, **body, "config": body["config"]} for key, body in agents.items()]
    config: dict[str, Any] = next(body["config"] for body in agents if body["id"] == agent.id)
    return config


def _outer(problem: Problem, change: InnerEdit) -> Problem:
    """A framework's problem with the name that the whole edit has for it."""
    section, _, rest = problem.path.partition(".")
    for (of, inner), name in sorted(change.names.items(), key=lambda item: -len(item[0][1])):
        if of == section and (rest == inner or rest.startswith((f"{inner}.", f"{inner}["))):
            outer = name if section == "inputs" else f"{section}.{name}"
            return Problem(outer + rest.removeprefix(inner), problem.message)
    return problem
