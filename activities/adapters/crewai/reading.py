"""Reads a definition into a `CrewSpec`, collecting every problem with the path of its field, and every warning.

Pure. What is read is well-formed field by field; whether the parts fit together is the business of `checks`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from activities.adapters.base import JsonObject
from activities.adapters.crewai.schema import (
    LEFT_OUT,
    REFUSED,
    AgentSpec,
    CrewFields,
    LLMSpec,
    Part,
    PlanningSpec,
    TaskSpec,
)
from omium_core.errors import Problem

T = TypeVar("T", AgentSpec, TaskSpec, CrewFields)

#: Fields that hold a further part with fields of its own.
_NESTED: dict[str, type[LLMSpec | PlanningSpec]] = {
    "llm": LLMSpec,
    "manager_llm": LLMSpec,
    "planning_config": PlanningSpec,
}
#: Name of the agent that CrewAI makes for a hierarchical crew which names none.
MANAGER: Final = "manager"

_SCHEMA_FIELDS = ("output_json", "output_pydantic", "response_model")


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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


class _Reader:
    def __init__(self) -> None:
        self.result = Reading()

    def read(self, definition: JsonObject) -> Reading:
        crew = self.result.crew
        rest = {key: value for key, value in definition.items() if key not in ("agents", "tasks")}
        crew.fields = self._part(CrewFields, rest, "", also_known=("agents", "tasks")) or CrewFields()
        for name, path, body in self._named_agents(definition.get("agents")):
            if name in crew.agent_paths:
                self._problem(path, f"There is another agent named {name!r}.")
                continue
            crew.agent_paths[name] = path
            agent = self._agent(body, path)
            if agent is not None:
                crew.agents[name] = agent
        for task_name, path, body in self._named_tasks(definition.get("tasks")):
            task = self._part(TaskSpec, body, path)
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
        self._warn(f"No task names an agent, so they are given out in order: {pairs}.")

    def _problem(self, path: str, message: str) -> None:
        self.result.problems.append(Problem(path, message))

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
                    self._problem(path, "An agent in a list needs a `name`.")
        else:
            self._problem(
                "agents",
                "A crew needs at least one agent: an object of agents by name.",
            )

    def _named_tasks(self, tasks: Any) -> Iterator[tuple[str | None, str, Any]]:
        if isinstance(tasks, Mapping) and tasks:
            yield from ((name, f"tasks.{name}", body) for name, body in tasks.items())
        elif isinstance(tasks, list) and tasks:
            yield from ((None, f"tasks[{index}]", body) for index, body in enumerate(tasks))
        else:
            self._problem(
                "tasks",
                "A crew needs at least one task: an object of tasks by name, or a list of tasks.",
            )

    def _agent(self, body: Any, path: str) -> AgentSpec | None:
        """An agent; what stands under `settings` counts as if it stood beside it."""
        settings = body.get("settings") if isinstance(body, Mapping) else None
        if settings is None or not isinstance(body, Mapping):
            return self._part(AgentSpec, body, path)
        if not isinstance(settings, Mapping):
            self._problem(f"{path}.settings", "This must be an object of agent fields.")
            return None
        return self._part(
            AgentSpec,
            {k: v for k, v in body.items() if k != "settings"} | dict(settings),
            path,
        )

    def _part(self, model: type[T], body: Any, path: str, also_known: Iterable[str] = ()) -> T | None:
        if not isinstance(body, Mapping):
            self._problem(path, "This must be an object.")
            return None
        body = self._without_left_out(model, body, path)
        for name, nested in _NESTED.items():
            if isinstance(body.get(name), Mapping):
                body[name] = self._without_left_out(nested, body[name], _join(path, name))
        self._check_code(body, path)
        try:
            return model.model_validate(body)
        except ValidationError as error:
            self.result.problems.extend(_problems(error, model, path, also_known))
            wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
            # What is left is kept, so that its references are judged as well.
            return model.model_construct(**{name: value for name, value in body.items() if name not in wrong})

    def _without_left_out(self, model: type[Part], body: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The body without refused and ignored fields; switched off (null, false, empty) they are no matter."""
        refused, left_out = (
            REFUSED.get(model, {}),
            LEFT_OUT.get(model, {}),
        )
        kept: dict[str, Any] = {}
        for name, value in body.items():
            if name in refused:
                if value not in (None, False, [], {}, ""):
                    self._problem(_join(path, name), f"{name} {refused[name]}.")
            elif name in left_out:
                if left_out[name] is not None and value not in (
                    None,
                    False,
                    [],
                    {},
                    "",
                ):
                    self._warn(f"{_join(path, name)}: {left_out[name]}.")
            else:
                kept[name] = value
        return kept

    def _warn(self, warning: str) -> None:
        self.result.warnings.append(warning)

    def _check_code(self, body: dict[str, Any], path: str) -> None:
        """Refuses references to code where text or a schema is allowed; such a value is taken out of the body."""
        message = "This names Python code, and code inside a definition is never executed; "
        for name in (
            "guardrail",
            "guardrails",
            "manager_agent",
            "manager_llm",
            "llm",
            "type",
        ):
            if _is_code(body.get(name)):
                self._problem(_join(path, name), f"{message}say it in words or leave it out.")
                body.pop(name)
        guardrails = body.get("guardrails")
        if isinstance(guardrails, list) and any(map(_is_code, guardrails)):
            index = [_is_code(item) for item in guardrails].index(True)
            self._problem(_join(path, f"guardrails[{index}]"), f"{message}say it in words.")
            body.pop("guardrails")
        for name in _SCHEMA_FIELDS:
            if isinstance(body.get(name), str) or _is_code(body.get(name)):
                self._problem(
                    _join(path, name),
                    f"{message}give the JSON Schema of the answer instead.",
                )
                body.pop(name)
        tools = body.get("tools")
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            if not isinstance(tool, str) or ":" in tool:
                self._problem(
                    _join(path, f"tools[{index}]"),
                    "A tool is named, as in 'calculator', from the tools that the operator registered; "
                    "`custom:`, `platform:` and `module:Class` references and tool objects are code, and are not loaded.",
                )
                body["tools"] = []


def _is_code(value: Any) -> bool:
    return isinstance(value, Mapping) and "python" in value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _problems(error: ValidationError, model: type[Part], path: str, also_known: Iterable[str]) -> Iterator[Problem]:
    """Pydantic's errors in our words, one per field."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        location = [part for part in item["loc"] if not _names_a_choice(part)]
        where = path
        for part in location:
            where = f"{where}[{part}]" if isinstance(part, int) else _join(where, part)
        found.setdefault(where, _message(item["type"], item["msg"], location, model, also_known))
    for where, message in found.items():
        # Of the members of a union, the one that came furthest is the one that was meant.
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found):
            yield Problem(where, message)


def _names_a_choice(part: str | int) -> bool:
    """Whether a part of a location names a member of a union, and no field."""
    return part in ("str", LLMSpec.__name__, "list[str]")


def _message(
    kind: str,
    message: str,
    location: list[str | int],
    model: type[Part],
    also_known: Iterable[str],
) -> str:
    if kind == "missing":
        return "This field is required."
    if kind == "extra_forbidden":
        owner: type[Part] = next((_NESTED[part] for part in location[:-1] if part in _NESTED), model)
        known = [
            *owner.model_fields,
            *LEFT_OUT.get(owner, {}),
            *also_known,
        ]
        return f"Unknown field {location[-1]!r}{did_you_mean(str(location[-1]), known)}"
    return f"{message}."
