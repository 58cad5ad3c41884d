"""Whether the parts of a crew fit together: agents, tools, contexts, the manager. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from graphlib import CycleError, TopologicalSorter
from typing import Final

from activities.adapters.crewai.parts import did_you_mean
from activities.adapters.crewai.reading import CrewSpec, NamedTask
from omium_core.errors import Problem

#: What CrewAI takes for a placeholder; other braces, as in JSON examples, are text.
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)}")


def check_crew(
    crew: CrewSpec, tools: frozenset[str] | None, unread: AbstractSet[str] = frozenset()
) -> Iterator[Problem]:
    """All problems between the parts of a crew. `tools` None: tools are not known here, and not judged.

    Paths in `unread` have a problem of their own already: what follows from their absence is no news.
    """
    for problem in _all(crew, tools):
        if problem.path not in unread:
            yield problem


def _all(crew: CrewSpec, tools: frozenset[str] | None) -> Iterator[Problem]:
    yield from _manager(crew)
    yield from _task_names(crew)
    yield from _contexts(crew)
    for task in crew.tasks:
        yield from _agent_of(crew, task)
        if tools is not None:
            yield from _tools(task.path, task.spec.tools, tools)
    for name, agent in crew.agents.items():
        if tools is not None:
            yield from _tools(crew.agent_paths[name], agent.tools, tools)


def concurrent_run(crew: CrewSpec, start: int) -> range:
    """The tasks of the step that begins at `start`: that task, with the asynchronous ones that follow an asynchronous one."""
    end = start + 1
    if crew.tasks[start].spec.async_execution:
        while end < len(crew.tasks) and crew.tasks[end].spec.async_execution:
            end += 1
    return range(start, end)


def placeholders(crew: CrewSpec) -> Iterator[tuple[str, str]]:
    """Where CrewAI fills in inputs: pairs of path and name, in reading order."""
    for name, agent in crew.agents.items():
        for field in ("role", "goal", "backstory"):
            for found in _PLACEHOLDER.findall(getattr(agent, field)):
                yield f"{crew.agent_paths[name]}.{field}", found
    for task in crew.tasks:
        for field in ("description", "expected_output"):
            for found in _PLACEHOLDER.findall(getattr(task.spec, field)):
                yield f"{task.path}.{field}", found


def _manager(crew: CrewSpec) -> Iterator[Problem]:
    manager = crew.fields.manager_agent
    if crew.fields.process != "hierarchical" or manager is None:
        return
    if crew.agent_paths and manager not in crew.agent_paths:
        yield Problem(
            "manager_agent",
            f"There is no agent {manager!r}{did_you_mean(manager, crew.agent_paths)}",
        )
        return
    if len(crew.agent_paths) == 1:
        yield Problem("agents", "A manager needs at least one other agent to delegate to.")
    if manager in crew.agents and crew.agents[manager].tools:
        yield Problem(
            f"{crew.agent_paths[manager]}.tools",
            "A manager agent must have no tools: it delegates.",
        )


def _task_names(crew: CrewSpec) -> Iterator[Problem]:
    seen: set[str] = set()
    for task in crew.tasks:
        if task.name is not None and task.name in seen:
            yield Problem(task.path, f"There is another task named {task.name!r}.")
        if task.name is not None:
            seen.add(task.name)


def _agent_of(crew: CrewSpec, task: NamedTask) -> Iterator[Problem]:
    agent, hierarchical = task.spec.agent, crew.fields.process == "hierarchical"
    if agent is None and not hierarchical:
        yield Problem(f"{task.path}.agent", "A task of a sequential crew needs an agent: name one of the agents here.")
    elif agent is None and (task.spec.guardrail or task.spec.guardrails):
        yield Problem(
            f"{task.path}.agent",
            "A task with a guardrail needs an agent, whose model judges the output.",
        )
    elif agent is not None and crew.agent_paths and agent not in crew.agent_paths:
        yield Problem(
            f"{task.path}.agent",
            f"There is no agent {agent!r}{did_you_mean(agent, crew.agent_paths)}",
        )


def _tools(path: str, named: list[str] | None, tools: frozenset[str]) -> Iterator[Problem]:
    for index, tool in enumerate(named or ()):
        if tool not in tools:
            known = f" Registered are: {', '.join(sorted(tools))}." if tools else ""
            yield Problem(
                f"{path}.tools[{index}]",
                f"Tool {tool!r} is not registered{did_you_mean(tool, tools)}{known}",
            )


def _contexts(crew: CrewSpec) -> Iterator[Problem]:
    position = {task.name: index for index, task in enumerate(crew.tasks) if task.name is not None}
    for index, task in enumerate(crew.tasks):
        for place, name in enumerate(task.spec.context or ()):
            path = f"{task.path}.context[{place}]"
            if name not in position:
                yield Problem(path, f"There is no task {name!r}{did_you_mean(name, position)}")
            elif position[name] == index:
                yield Problem(path, "A task cannot use its own output.")
            elif position[name] > index:
                yield Problem(
                    path,
                    f"Task {name!r} comes later; a task can use the outputs of earlier tasks only.",
                )
            elif task.spec.async_execution and position[name] >= _run_start(crew, index):
                yield Problem(
                    path,
                    f"Task {name!r} runs at the same time; an asynchronous task cannot wait for it.",
                )
    yield from _cycle({task.name: task.spec.context or [] for task in crew.tasks if task.name is not None})


def _run_start(crew: CrewSpec, index: int) -> int:
    while index > 0 and crew.tasks[index - 1].spec.async_execution:
        index -= 1
    return index


def _cycle(contexts: dict[str, list[str]]) -> Iterator[Problem]:
    graph = {name: [other for other in used if other != name] for name, used in contexts.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield Problem(
            "tasks",
            f"The contexts of tasks form a cycle: {' -> '.join(error.args[1])}.",
        )
