"""Crews, in the pure half of the CrewAI adapter: judged and planned without importing CrewAI.

A definition is a crew in CrewAI's own field names, so that `agents.yaml` and `tasks.yaml` can be posted as JSON:
`{"agents": {name: {...}}, "tasks": {name: {...}} | [...], "process": "sequential" | "hierarchical", ...}`. The order of
the tasks is the order in which they run. One task is one step; consecutive tasks with `async_execution` are one step together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from activities.adapters.base import Edit, JsonObject, Plan
from activities.adapters.crewai.checks import check_crew, concurrent_run, placeholders
from activities.adapters.crewai.edits import edited
from activities.adapters.crewai.reading import CrewSpec, NamedTask, agent_label, read_crew, task_label
from activities.adapters.crewai.schema import (
    LEFT_OUT,
    AgentSpec,
    CrewFields,
    LLMSpec,
    Part,
    TaskSpec,
)
from activities.adapters.crewai.states import read_state
from omium_core.errors import InvalidInput, Problem

_HIERARCHICAL_HINT: Final = "process is hierarchical without manager_llm or manager_agent: the default model manages."


class CrewDefinition:
    """Implements `FrameworkDefinition` for crews."""

    name = "crewai"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems of a crew, with paths such as `tasks.research.agent` or `tasks[1].context[0]`."""
        reading = read_crew(definition)
        return reading.problems + list(check_crew(reading.crew, tools, unread={p.path for p in reading.problems}))

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Placeholders that neither the inputs nor the crew's own `inputs` fill; the path is the input's name."""
        crew = read_crew(definition).crew
        given = crew.default_inputs.keys() | inputs.keys()
        missing = {name: where for where, name in reversed(list(placeholders(crew))) if name not in given}
        problems = [
            Problem(name, f"This input is missing: {where} uses {{{name}}}.") for name, where in missing.items()
        ]
        if "crew_chat_messages" in inputs:
            problems.append(
                Problem(
                    "crew_chat_messages",
                    "This name is reserved by CrewAI for its chat.",
                )
            )
        return sorted(problems, key=lambda problem: problem.path)

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """One step per task, or per run of asynchronous tasks."""
        reading = read_crew(definition)
        crew = reading.crew
        warnings = list(reading.warnings)
        if crew.fields.process == "hierarchical" and not (crew.fields.manager_llm or crew.fields.manager_agent):
            warnings.append(_HIERARCHICAL_HINT)
        return Plan(
            steps=tuple(step_names(crew)),
            agents=tuple(crew.agents),
            warnings=tuple(warnings),
        )

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Only for tools that are not known here: a crew holds no code."""
        crew = read_crew(definition).crew
        named = [agent.tools for agent in crew.agents.values()] + [task.spec.tools for task in crew.tasks]
        return not tools.issuperset(tool for names in named for tool in names or ())

    def view(self, state: JsonObject) -> JsonObject:
        """The inputs and the outputs so far."""
        inputs, outputs = read_state(state)
        return {"inputs": inputs, "tasks_output": outputs}

    def values(self, state: JsonObject) -> JsonObject:
        """The outputs of the finished tasks by their names: the structured answer where there is one, else the text."""
        _, outputs = read_state(state)
        return {output["name"]: output["raw"] if output["json"] is None else output["json"] for output in outputs}

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The names of the next step's tasks and agents."""
        crew, done = read_crew(definition).crew, len(read_state(state)[1])
        return step_units(crew, done) if done < len(crew.tasks) else ()

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """The names of all tasks and agents."""
        crew = read_crew(definition).crew
        tasks = {task_label(task, index) for index, task in enumerate(crew.tasks)}
        return frozenset(tasks | crew.agents.keys() | {agent_label(crew, task) for task in crew.tasks})

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """A crew and a state with an edit applied: see `edits.py`."""
        after = edited(definition, state, edit)
        problems = after.problems
        # An edit that broke the crew's own rules is told where it was made.
        for problem in self.validate(after.definition, tools=None):
            if problem.path in after.places:
                problems.append(Problem(after.places[problem.path], problem.message))
        if not problems:
            missing = self.validate_inputs(after.definition, read_state(after.state)[0])
            problems = [Problem(f"inputs.{problem.path}", problem.message) for problem in missing]
        if problems:
            raise InvalidInput("The edit does not fit the crew.", problems)
        return after.definition, after.state

    def json_schema(self) -> JsonObject:
        """The JSON Schema of crews."""
        agents = _schema_of(AgentSpec, {"name": {"type": "string"}, "settings": {"type": "object"}})
        tasks, crew = _schema_of(TaskSpec), _schema_of(CrewFields)
        definitions = {"agent": agents, "task": tasks, "llm": _schema_of(LLMSpec)}
        for part in (agents, tasks, crew):
            part_definitions = part.pop("$defs", {})
            definitions |= {name: body for name, body in part_definitions.items() if name != LLMSpec.__name__}
        crew["properties"] |= {"agents": _named("agent"), "tasks": _named("task")}
        schema = crew | {
            "title": "CrewAI crew",
            "required": ["agents", "tasks"],
            "$defs": definitions,
        }
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        return {key: _llm_once(value) for key, value in schema.items()}


def step_names(crew: CrewSpec) -> Iterator[str]:
    """What people see of each step: names of tasks and agents, and nothing of a prompt."""
    start = 0
    while start < len(crew.tasks):
        run = concurrent_run(crew, start)
        yield step_name(crew, start)
        start = run.stop


def step_name(crew: CrewSpec, start: int) -> str:
    """The name of the step that begins with the task at `start`."""
    return " + ".join(_task_name(crew, crew.tasks[index], index) for index in concurrent_run(crew, start))


def _task_name(crew: CrewSpec, task: NamedTask, index: int) -> str:
    return f"{task_label(task, index)} · {agent_label(crew, task)}"


def step_units(crew: CrewSpec, start: int) -> tuple[str, ...]:
    """The tasks of the step that begins at `start`, and then their agents, each once."""
    tasks = [(index, crew.tasks[index]) for index in concurrent_run(crew, start)]
    names = [task_label(task, index) for index, task in tasks] + [agent_label(crew, task) for _, task in tasks]
    return tuple(dict.fromkeys(names))


def _schema_of(model: type[Part], extra: dict[str, JsonObject] | None = None) -> JsonObject:
    """A part's schema with the fields that are accepted and left out."""
    schema: dict[str, Any] = model.model_json_schema()
    left_out = {name: {"description": note or "Accepted, without effect."} for name, note in LEFT_OUT[model].items()}
    schema["properties"] |= left_out | (extra or {})
    return schema


def _named(part: str) -> JsonObject:
    item = {"$ref": f"#/$defs/{part}"}
    by_name = {"type": "object", "additionalProperties": item, "minProperties": 1}
    one_key = {
        "type": "object",
        "additionalProperties": item,
        "minProperties": 1,
        "maxProperties": 1,
    }
    items = {"anyOf": [item, one_key]} if part == "agent" else item
    return {"anyOf": [by_name, {"type": "array", "items": items, "minItems": 1}]}


def _llm_once(value: Any) -> Any:
    """Points all references to the model's own name of a part at the one that lists the left-out fields too."""
    if isinstance(value, dict):
        reference = {"$ref": "#/$defs/llm"} if value.get("$ref") == f"#/$defs/{LLMSpec.__name__}" else None
        return reference or {key: _llm_once(item) for key, item in value.items()}
    return [_llm_once(item) for item in value] if isinstance(value, list) else value


CREW: Final = CrewDefinition()
