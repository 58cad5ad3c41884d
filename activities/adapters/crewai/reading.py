"""Reads a definition into a `CrewSpec`, collecting every problem with the path of its field, and every warning.

Pure. What is read is well-formed field by field; whether the parts fit together is the business of `checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from activities.adapters.base import JsonObject
from activities.adapters.crewai.parts import PartReader
from activities.adapters.crewai.schema import AgentSpec, CrewFields, TaskSpec
from omium_core.errors import Problem

#: Name of the agent that CrewAI makes for a hierarchical crew which names none.
MANAGER: Final = "manager"


@dataclass(frozen=True)
class NamedTask:
    """A task with its name (from its key or its `name`; None if it has neither) and its path in the definition."""

    name: str | None
    path: str
    spec: TaskSpec


@dataclass
class CrewSpec:
    """A crew as read. `tasks` are in the order in which they run."""

    fields: CrewFields = field(default_factory=CrewFields)
    agents: dict[str, AgentSpec] = field(default_factory=dict)
    agent_paths: dict[str, str] = field(default_factory=dict)
    tasks: list[NamedTask] = field(default_factory=list)

    @property
    def default_inputs(self) -> JsonObject:
        return self.fields.inputs or {}


def task_label(task: NamedTask, index: int) -> str:
    """A task's name, or its number where it has none."""
    return task.name or f"task {index + 1}"


def agent_label(crew: CrewSpec, task: NamedTask) -> str:
    """The name of the agent of a task, or of who manages the crew where it has none."""
    return task.spec.agent or crew.fields.manager_agent or MANAGER


@dataclass
class Reading:
    """What was read, what is wrong with it, and what was left out of it. With problems, the crew is good for further checks only."""

    crew: CrewSpec = field(default_factory=CrewSpec)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_crew(definition: JsonObject) -> Reading:
    """Reads a whole definition; parts with problems are read as far as they are right."""
    return _Reader().read(definition)


class _Reader(PartReader):
    def __init__(self) -> None:
        super().__init__()
        self.result = Reading(problems=self.problems, warnings=self.warnings)

    def read(self, definition: JsonObject) -> Reading:
        crew = self.result.crew
        rest = {key: value for key, value in definition.items() if key not in ("agents", "tasks")}
        crew.fields = self.part(CrewFields, rest, "", also_known=("agents", "tasks")) or CrewFields()
        for name, path, body in self._named_agents(definition.get("agents")):
            if name in crew.agent_paths:
                self.problem(path, f"There is another agent named {name!r}.")
                continue
            crew.agent_paths[name] = path
            agent = self._agent(body, path)
            if agent is not None:
                crew.agents[name] = agent
        for task_name, path, body in self._named_tasks(definition.get("tasks")):
            task = self.part(TaskSpec, body, path)
            if task is not None:
                crew.tasks.append(NamedTask(task_name or task.name, path, task))
        self._pair_in_order(crew)
        return self.result

    def _pair_in_order(self, crew: CrewSpec) -> None:
        """Gives the n-th task to the n-th agent where no task names one: many projects say it in `crew.py` alone."""
        count = len(crew.tasks)
        unnamed = all(task.spec.agent is None for task in crew.tasks)
        if crew.fields.process != "sequential" or not unnamed or count < 2 or count != len(crew.agents):
            return
        for task, agent in zip(crew.tasks, crew.agents, strict=True):
            task.spec.agent = agent
        pairs = ", ".join(f"{task.spec.agent} does {task_label(task, n)}" for n, task in enumerate(crew.tasks))
        self.warn(f"No task names an agent, so they are given out in order: {pairs}.")

    def _named_agents(self, agents: Any) -> Iterator[tuple[str, str, Any]]:
        """Agents by name, or a list of agents with a `name`, or a list of one-key objects: as CrewAI's loader has it."""
        if isinstance(agents, Mapping) and agents:
            yield from ((name, f"agents.{name}", body) for name, body in agents.items())
        elif isinstance(agents, list) and agents:
            for index, item in enumerate(agents):
                path = f"agents[{index}]"
                if isinstance(item, Mapping) and isinstance(item.get("name"), str) and item["name"]:
                    yield (
                        item["name"],
                        path,
                        {key: value for key, value in item.items() if key != "name"},
                    )
                elif isinstance(item, Mapping) and len(item) == 1 and "name" not in item:
                    name, body = next(iter(item.items()))
                    yield name, f"{path}.{name}", body
                else:
                    self.problem(path, "An agent in a list needs a `name`.")
        else:
            self.problem(
                "agents",
                "A crew needs at least one agent: an object of agents by name.",
            )

    def _named_tasks(self, tasks: Any) -> Iterator[tuple[str | None, str, Any]]:
        if isinstance(tasks, Mapping) and tasks:
            yield from ((name, f"tasks.{name}", body) for name, body in tasks.items())
        elif isinstance(tasks, list) and tasks:
            yield from ((None, f"tasks[{index}]", body) for index, body in enumerate(tasks))
        else:
            self.problem(
                "tasks",
                "A crew needs at least one task: an object of tasks by name, or a list of tasks.",
            )

    def _agent(self, body: Any, path: str) -> AgentSpec | None:
        """An agent; what stands under `settings` counts as if it stood beside it."""
        settings = body.get("settings") if isinstance(body, Mapping) else None
        if settings is None or not isinstance(body, Mapping):
            return self.part(AgentSpec, body, path)
        if not isinstance(settings, Mapping):
            self.problem(f"{path}.settings", "This must be an object of agent fields.")
            return None
        return self.part(
            AgentSpec,
            {k: v for k, v in body.items() if k != "settings"} | dict(settings),
            path,
        )
