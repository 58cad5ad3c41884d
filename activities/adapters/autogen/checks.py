"""Whether the parts of a team fit together: names, tools, handoffs, the graph. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from activities.adapters.autogen.components import did_you_mean, join
from activities.adapters.autogen.conditions import HandoffTarget
from activities.adapters.autogen.graphs import check_graph
from activities.adapters.autogen.schema import AssistantConfig
from activities.adapters.autogen.spec import USER, AgentSpec, TeamSpec
from omium_core.errors import Problem


def check_tools(team: TeamSpec, tools: frozenset[str]) -> Iterator[Problem]:
    """Tools that are not registered."""
    for agent in team.participants:
        for tool in agent.tools:
            if tool.name not in tools:
                known = f" Registered are: {', '.join(sorted(tools))}." if tools else ""
                message = f"Tool {tool.name!r} is not registered{did_you_mean(tool.name, tools)}{known}"
                yield Problem(tool.path, message)


def check_team(team: TeamSpec) -> Iterator[Problem]:
    """Problems between the parts of a team that is well-formed part by part."""
    yield from _names(team)
    for agent in team.participants:
        yield from _agent(agent)
    if team.kind == "Swarm":
        yield from _swarm(team)
    if team.kind == "SelectorGroupChat" and len(team.participants) < 2:
        yield Problem(join(team.config_path, "participants"), "A SelectorGroupChat needs two participants or more.")
    if team.graph is not None:
        path, ends = join(team.config_path, "graph"), team.condition is not None or team.config.max_turns is not None
        yield from check_graph(team.graph, team.names, path, has_end=ends)


def _names(team: TeamSpec) -> Iterator[Problem]:
    seen: set[str] = set()
    for agent in team.participants:
        if agent.name in seen:
            yield Problem(join(agent.config_path, "name"), f"There is another participant named {agent.name!r}.")
        seen.add(agent.name)


def _agent(agent: AgentSpec) -> Iterator[Problem]:
    names: set[str] = set()
    for tool in agent.tools:
        if tool.name in names:
            yield Problem(tool.path, f"This agent has the tool {tool.name!r} already.")
        names.add(tool.name)
    handoffs: set[str] = set()
    for index, handoff in enumerate(agent.handoffs):
        name = handoff.name or f"transfer_to_{handoff.target}".lower()
        path = join(agent.config_path, f"handoffs[{index}]")
        if handoff.name and not handoff.name.isidentifier():
            yield Problem(f"{path}.name", "The name of a handoff must be an identifier: models call it as a tool.")
        elif name in handoffs:
            yield Problem(path, f"This agent has the handoff {name!r} already.")
        elif name in names or handoff.target in names:
            yield Problem(path, "A handoff and a tool of this agent have the same name.")
        handoffs.add(name)
    info = agent.model.model_info
    if info is not None and not info.function_calling and (agent.tools or agent.handoffs):
        path = join(agent.config_path, "model_client.config.model_info.function_calling")
        yield Problem(path, "This agent has tools or handoffs, so its model must be able to call functions.")


def _swarm(team: TeamSpec) -> Iterator[Problem]:
    people = {USER, *(c.fields.target for c in team.conditions() if isinstance(c.fields, HandoffTarget))}
    for agent in team.participants:
        config = agent.config
        for index, handoff in enumerate(agent.handoffs):
            if handoff.target not in team.names and handoff.target not in people:
                given = config.handoffs if isinstance(config, AssistantConfig) else None
                plain = bool(given) and isinstance((given or [])[index], str)
                path = join(agent.config_path, f"handoffs[{index}]" if plain else f"handoffs[{index}].target")
                hint = did_you_mean(handoff.target, (*team.names, *people))
                yield Problem(path, f"There is no agent {handoff.target!r} to hand over to{hint}")
