"""What the names in an edit mean: agents, steps, and what is inside of agents. Pure.

An agent or a step goes by its id or its name; ids come before names, agents before steps. What is inside of an agent is
`agent.inner` or `step.inner`, or `inner` alone where only one agent has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from activities.adapters.base import Edit, JsonObject
from activities.adapters.flow.agents import half_of, inner_definition
from activities.adapters.flow.reading import Agent, FlowSpec, FlowStep, did_you_mean
from omium_core.errors import InvalidInput


class NoSuchPlace(LookupError):
    """A name means nothing, or several things; the message is a sentence for whoever wrote it."""


@dataclass(frozen=True)
class Place:
    """An agent or one of its steps as a whole, or something inside of an agent."""

    agent: Agent
    step: FlowStep | None = None
    inner: str | None = None


def find(flow: FlowSpec, name: str) -> Place:
    """What a name means. Raises `NoSuchPlace`."""
    wholes = dict(_wholes(flow))
    if name in wholes:
        return wholes[name]
    for prefix, whole in wholes.items():
        inner = name.removeprefix(f"{prefix}.")
        if inner != name and inner in _inside(flow, whole.agent):
            return Place(whole.agent, whole.step, inner)
    agents = [agent for agent in used_agents(flow) if name in _inside(flow, agent)]
    if not agents:
        raise NoSuchPlace(f"There is no agent and no step {name!r}{did_you_mean(name, wholes)}")
    if len(agents) > 1:
        options = ", ".join(f"{agent.id}.{name}" for agent in agents)
        raise NoSuchPlace(f"Several agents have a {name!r}: name one of {options}.")
    return Place(agents[0], inner=name)


def used_agents(flow: FlowSpec) -> list[Agent]:
    """The agents that have a step."""
    used = {step.part.agent for step in flow.steps.values()}
    return [agent for agent in flow.agents.values() if agent.id in used]


def main_prompt(agent: Agent, inner: JsonObject) -> str:
    """The name of the only thing inside of an agent that has a prompt; of its tasks, where it has tasks.

    `inner` is what the agent's framework runs. Raises `NoSuchPlace` where there is none, or more than one.
    """
    half = half_of(agent)
    named = half.unit_names(inner)
    agents = set(half.plan(inner, _inputs_for(agent, inner)).agents)
    for names in (sorted(named - agents), sorted(named & agents)):
        able = [name for name in names if _has_prompt(agent, inner, name)]
        if len(able) > 1:
            options = ", ".join(f"{agent.id}.{name}" for name in able)
            raise NoSuchPlace(f"{agent.id!r} has several prompts: name one of {options}.")
        if able:
            return able[0]
    raise NoSuchPlace(f"{agent.id!r} has no prompt that can be edited.")


def stand_in_state(agent: Agent, inner: JsonObject) -> JsonObject:
    """A state for edits of an agent that has none at hand: prompts and models are in its definition alone."""
    rest: dict[str, JsonObject] = {
        "crewai": {"outputs": []},
        "langgraph": {"format": 1, "values": {}, "next": []},
        "semantic_kernel": {"messages": [], "results": {}, "next": []},
    }
    return {"inputs": _inputs_for(agent, inner), **rest.get(agent.framework, {})}


def _wholes(flow: FlowSpec) -> Iterator[tuple[str, Place]]:
    """Steps and agents by their names; of one name, what comes later counts."""
    steps = list(flow.steps.values())
    agents = used_agents(flow)
    yield from ((step.name, Place(flow.agents[step.part.agent], step)) for step in reversed(steps))
    yield from ((agent.name, Place(agent)) for agent in reversed(agents))
    yield from ((step.id, Place(flow.agents[step.part.agent], step)) for step in steps)
    yield from ((agent.id, Place(agent)) for agent in agents)


def _inside(flow: FlowSpec, agent: Agent) -> frozenset[str]:
    step = next(step for step in flow.steps.values() if step.part.agent == agent.id)
    return half_of(agent).unit_names(inner_definition(agent, step))


def _has_prompt(agent: Agent, inner: JsonObject, name: str) -> bool:
    try:
        half_of(agent).edit(inner, stand_in_state(agent, inner), Edit(prompts={name: "Go on."}))
    except InvalidInput:
        return False
    return True


def _inputs_for(agent: Agent, inner: JsonObject) -> JsonObject:
    """Something for each input that the agent needs."""
    return {problem.path: "" for problem in half_of(agent).validate_inputs(inner, {})}
