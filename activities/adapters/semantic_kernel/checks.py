"""Whether the parts of a definition fit together: names, tools, templates, members, handoffs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from activities.adapters.semantic_kernel.parts import did_you_mean, join
from activities.adapters.semantic_kernel.prompts import Template, look
from activities.adapters.semantic_kernel.reading import Agent, Function, Spec
from activities.adapters.semantic_kernel.schema import Concurrent, GroupChat, Handoff, Magentic
from activities.adapters.semantic_kernel.turns import HUMAN, MANAGER
from omium_core.errors import Problem


def check_spec(spec: Spec, tools: frozenset[str] | None) -> Iterator[Problem]:
    """All problems between the parts. `tools` None: tools are not known here, and not judged."""
    for agent in spec.agents.values():
        yield from _tools(agent, tools)
        yield from _instructions(agent)
    for function in spec.functions.values():
        yield from _tools(function, tools)
        yield from _template(function.tools, join(function.path, "template"), template_of(function))
    if spec.agents:
        yield from _members(spec)
        yield from _orchestration(spec)


def instructions_of(agent: Agent) -> Template:
    """What an agent's instructions use."""
    return look(agent.fields.instructions or "", agent.fields.template_format)


def template_of(function: Function) -> Template:
    """What a function's template uses."""
    return look(getattr(function.fields, "template", ""), function.fields.template_format)


def _tools(part: Agent | Function, tools: frozenset[str] | None) -> Iterator[Problem]:
    if tools is None:
        return
    for index, tool in enumerate(part.tools):
        if tool not in tools:
            yield Problem(join(part.path, f"tools[{index}]"), f"There is no tool {tool!r}{did_you_mean(tool, tools)}")


def _instructions(agent: Agent) -> Iterator[Problem]:
    if agent.is_human:
        if agent.tools:
            yield Problem(join(agent.path, "tools"), "A person has no tools.")
        return
    yield from _template(agent.tools, join(agent.path, "instructions"), instructions_of(agent))


def _template(tools: Sequence[str], path: str, template: Template) -> Iterator[Problem]:
    if template.problem is not None:
        yield Problem(path, template.problem)
    for name in sorted(template.functions - set(tools)):
        yield Problem(path, f"The template calls {name!r}, which is none of the tools here{did_you_mean(name, tools)}")


def _members(spec: Spec) -> Iterator[Problem]:
    named = spec.orchestration.members
    for index, name in enumerate(named or ()):
        path = f"orchestration.members[{index}]"
        if name not in spec.agents:
            yield Problem(path, f"There is no agent {name!r}{did_you_mean(name, spec.agents)}")
        elif name in (named or ())[:index]:
            yield Problem(path, f"The agent {name!r} is a member already.")
    if spec.members and all(agent.is_human for agent in spec.members):
        yield Problem("agents", "At least one agent must not be a person.")


def _orchestration(spec: Spec) -> Iterator[Problem]:
    kind = spec.orchestration
    if isinstance(kind, (Concurrent, Magentic)):
        for agent in spec.members:
            if agent.is_human:
                yield Problem(join(agent.path, "type"), f"A person cannot take part in a {kind.type} orchestration.")
    if isinstance(kind, Magentic) and MANAGER in spec.agents:
        yield Problem(join(spec.agents[MANAGER].path, "name"), f"The name {MANAGER!r} is that of the team's manager.")
    if isinstance(kind, (GroupChat, Handoff)) and kind.human and HUMAN in spec.agents:
        agent = spec.agents[HUMAN]
        if not agent.is_human:
            yield Problem(
                join(agent.path, "name"), f"The name {HUMAN!r} is the person's, whom this orchestration asks."
            )
    if isinstance(kind, GroupChat):
        yield from _group_chat(spec, kind)
    if isinstance(kind, Handoff):
        yield from _handoffs(spec, kind)


def _group_chat(spec: Spec, kind: GroupChat) -> Iterator[Problem]:
    for index, name in enumerate(kind.human if isinstance(kind.human, list) else ()):
        if name not in spec.agents:
            message = f"There is no agent {name!r}{did_you_mean(name, spec.agents)}"
            yield Problem(f"orchestration.human[{index}]", message)
    manager = kind.manager
    if manager.type == "round_robin" and (manager.selection_prompt or manager.termination_prompt or manager.model):
        yield Problem("orchestration.manager", 'Prompts and a model belong to a manager of the type "prompt".')


def _handoffs(spec: Spec, kind: Handoff) -> Iterator[Problem]:
    members = {agent.name for agent in spec.members}
    if kind.start is not None and kind.start not in members:
        yield Problem("orchestration.start", f"There is no agent {kind.start!r}{did_you_mean(kind.start, members)}")
    elif kind.start is not None and spec.agents[kind.start].is_human:
        yield Problem("orchestration.start", "A person cannot be the first: the task is for an agent.")
    for index, handoff in enumerate(kind.handoffs):
        path = f"orchestration.handoffs[{index}]"
        for field, name in (("from", handoff.source), ("to", handoff.to)):
            if name not in members:
                yield Problem(f"{path}.{field}", f"There is no agent {name!r}{did_you_mean(name, members)}")
        if handoff.source == handoff.to:
            yield Problem(f"{path}.to", f"{handoff.to!r} cannot hand over to itself.")
        elif handoff.source in members and spec.agents[handoff.source].is_human:
            yield Problem(f"{path}.from", "A person hands back to the agent that asked, and to nobody else.")
