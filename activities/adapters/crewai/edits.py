"""Edits of a crew and its state, as a person or a policy makes them when a run goes on from a checkpoint. Pure.

A task's prompt is its `description`, an agent's is its `goal`: what it is to do. The other texts of both are named in an
object: `expected_output`; `role`, `backstory`. Models belong to agents. Values are the outputs of finished tasks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from activities.adapters.base import Edit, Json, JsonObject
from activities.adapters.crewai.parts import did_you_mean
from activities.adapters.crewai.reading import MANAGER, CrewSpec, agent_label, read_crew, task_label
from activities.adapters.crewai.states import SavedOutput, make_state, read_state
from omium_core.errors import Problem

#: The texts that can be edited; a plain text replaces the first one.
_TASK_TEXTS = ("description", "expected_output")
_AGENT_TEXTS = ("goal", "role", "backstory")


@dataclass
class Edited:
    """What came of an edit: `problems` has what does not fit; `places` what was changed, by its path in the definition."""

    definition: JsonObject
    state: JsonObject
    problems: list[Problem] = field(default_factory=list)
    #: Path in the definition -> path in the edit.
    places: dict[str, str] = field(default_factory=dict)


@dataclass
class _Part:
    """A task or an agent: its JSON in the definition, its path there, and the texts that can be edited."""

    body: JsonObject
    path: str
    texts: tuple[str, ...]


def edited(definition: JsonObject, state: JsonObject, edit: Edit) -> Edited:
    """A valid definition and a state with an edit applied. Whether the crew is still valid is for the caller to see."""
    crew = read_crew(definition).crew
    result = Edited(copy.deepcopy(definition), copy.deepcopy(state))
    tasks, agents = _tasks(crew, result.definition), _agents(crew, result.definition)
    for name, prompt in edit.prompts.items():
        result.problems += _change_prompt(result, tasks, agents, name, prompt)
    for name in edit.models:
        result.problems += _change_model(result, crew, agents, edit.models, name)
    inputs, outputs = read_state(result.state)
    for name, value in edit.values.items():
        result.problems += _change_output(crew, outputs, name, value)
    result.state = {**result.state, **make_state({**inputs, **edit.inputs}, outputs)}
    return result


def _tasks(crew: CrewSpec, definition: JsonObject) -> dict[str, _Part]:
    bodies = definition["tasks"].values() if isinstance(definition["tasks"], Mapping) else definition["tasks"]
    pairs = zip(crew.tasks, bodies, strict=True)
    return {task_label(task, n): _Part(body, task.path, _TASK_TEXTS) for n, (task, body) in enumerate(pairs)}


def _agents(crew: CrewSpec, definition: JsonObject) -> dict[str, _Part]:
    agents = definition["agents"]
    bodies = agents.values() if isinstance(agents, Mapping) else map(_listed, agents)
    pairs = zip(crew.agent_paths.items(), bodies, strict=True)
    return {name: _Part(body, path, _AGENT_TEXTS) for (name, path), body in pairs}


def _listed(item: JsonObject) -> JsonObject:
    """An agent of a list: it has its name inside, or is the only value of an object."""
    body: JsonObject = item if "name" in item else next(iter(item.values()))
    return body


def _change_prompt(
    result: Edited,
    tasks: Mapping[str, _Part],
    agents: Mapping[str, _Part],
    name: str,
    prompt: str | Mapping[str, str],
) -> Iterator[Problem]:
    path = f"prompts.{name}"
    parts = [parts[name] for parts in (tasks, agents) if name in parts]
    if not parts:
        yield Problem(path, f"There is no task and no agent {name!r}{did_you_mean(name, [*tasks, *agents])}")
        return
    whole = isinstance(prompt, str)
    for key, text in ({parts[0].texts[0]: prompt} if isinstance(prompt, str) else prompt).items():
        where = path if whole else f"{path}.{key}"
        # A task and an agent of one name: the field says which one is meant.
        part = next((part for part in parts if key in part.texts), None)
        if part is None:
            known = ", ".join(text for part in parts for text in part.texts)
            yield Problem(where, f"{name!r} has no {key!r} to edit, only: {known}.")
        else:
            _set(result, part, key, text, where)


def _change_model(
    result: Edited, crew: CrewSpec, agents: Mapping[str, _Part], models: Mapping[str, str], name: str
) -> Iterator[Problem]:
    path = f"models.{name}"
    # The manager that CrewAI makes by itself has its model in the crew.
    made = crew.fields.process == "hierarchical" and crew.fields.manager_agent is None and MANAGER not in agents
    known = [*agents, *([MANAGER] if made else [])]
    if name != "*" and name not in known:
        owner = next((agent_label(crew, t) for n, t in enumerate(crew.tasks) if task_label(t, n) == name), None)
        reason = f"There is no agent {name!r}{did_you_mean(name, known)}"
        yield Problem(path, reason if owner is None else f"{name!r} is a task; its model is that of {owner!r}.")
        return
    # An agent that is named has its own model, whatever all others get.
    for agent in [other for other in known if other not in models] if name == "*" else [name]:
        if agent in agents:
            _set(result, agents[agent], "llm", _with_model(agents[agent].body, "llm", models[name]), path)
        else:
            result.definition["manager_llm"] = _with_model(result.definition, "manager_llm", models[name])
            result.places["manager_llm"] = path


def _set(result: Edited, part: _Part, key: str, value: Json, where: str) -> None:
    settings = part.body.get("settings")
    # What stands under `settings` is what counts.
    body = settings if isinstance(settings, dict) and key in settings else part.body
    body[key] = value
    result.places[f"{part.path}.{key}"] = where


def _with_model(body: JsonObject, key: str, model: str) -> Json:
    """Another model with the parameters of the present one."""
    settings = body.get("settings")
    present = settings[key] if isinstance(settings, dict) and key in settings else body.get(key)
    return {**present, "model": model} if isinstance(present, dict) else model


def _change_output(crew: CrewSpec, outputs: list[SavedOutput], name: str, value: Json) -> Iterator[Problem]:
    path = f"values.{name}"
    index = next((n for n, output in enumerate(outputs) if output["name"] == name), None)
    if index is None:
        known = ", ".join(output["name"] for output in outputs) or "none"
        yield Problem(path, f"No task {name!r} has an output yet; finished tasks: {known}.")
        return
    if isinstance(value, str) and outputs[index]["json"] is None:
        outputs[index]["raw"] = value
        return
    try:
        structured = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        yield Problem(path, "The output of this task is structured: give JSON.")
        return
    task = crew.tasks[index].spec
    if wrong := _breaks(task.output_json or task.output_pydantic or task.response_model, structured):
        yield Problem(path, f"The output of this task has a schema, which this breaks: {wrong}.")
        return
    outputs[index]["raw"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    outputs[index]["json"] = structured


def _breaks(schema: JsonObject | None, value: Json) -> str | None:
    if schema is None:
        return None
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        # CrewAI took it as it is; nothing can be judged by it.
        return None
    broken = next(Draft202012Validator(schema).iter_errors(value), None)
    return None if broken is None else f"{broken.json_path}: {broken.message}"
