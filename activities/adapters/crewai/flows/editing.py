"""Edits of a flow before its step: texts and models of the agents and tasks inside, and inputs. Pure.

A name means every agent and task of that name in the flow, or with its method before it (`draft.writer`) only those of that
method. The agent of an `agent` call has the name of its method. What the methods gave cannot be edited: nothing comes after.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from activities.adapters.base import Edit, Json, JsonObject
from activities.adapters.crewai.edits import edited as edited_crew
from activities.adapters.crewai.flows.reading import read_flow
from activities.adapters.crewai.flows.spec import AgentCall, CrewCall
from activities.adapters.crewai.flows.states import make_state, read_state
from activities.adapters.crewai.parts import did_you_mean
from activities.adapters.crewai.reading import MANAGER, task_label
from activities.adapters.crewai.states import make_state as crew_state
from omium_core.errors import Problem


@dataclass
class Edited:
    """What came of an edit: `problems` has what does not fit; `places` what was changed, by its path in the definition."""

    definition: JsonObject
    state: JsonObject
    problems: list[Problem] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)


def edited(definition: JsonObject, state: JsonObject, edit: Edit) -> Edited:
    """A valid flow and a state with an edit applied. Whether the flow is still valid is for the caller to see."""
    inputs, result = read_state(state)
    after = Edited(
        copy.deepcopy(definition), make_state({**copy.deepcopy(inputs), **edit.inputs}, copy.deepcopy(result))
    )
    known: set[str] = set()
    with_model: set[str] = set()
    for method, call in read_flow(after.definition).flow.crews():
        texts, models = _names(call)
        known |= _with_method(method.name, texts | models).keys()
        with_model |= _with_method(method.name, models).keys()
        prompts = _meant(edit.prompts, _with_method(method.name, texts))
        chosen = _meant(edit.models, {"*": "*", **_with_method(method.name, models)})
        _change(after, call, prompts, chosen, edit)
    for path, names in (("prompts", edit.prompts), ("models", edit.models)):
        for name in names.keys() - known - ({"*"} if path == "models" else set()):
            message = f"There is no agent and no task {name!r} in this flow{did_you_mean(name, known)}"
            after.problems.append(Problem(f"{path}.{name}", message))
    for name in sorted(edit.models.keys() & known - with_model):
        after.problems.append(Problem(f"models.{name}", f"{name!r} is a task; its model is that of its agent."))
    message = "A flow is one step: what its methods gave cannot be edited, as nothing comes after it."
    after.problems += [Problem(f"values.{name}", message) for name in edit.values]
    return after


def _names(call: CrewCall | AgentCall) -> tuple[set[str], set[str]]:
    """The names in a call that have texts, and those that have a model."""
    agents = set(call.crew.agents)
    if isinstance(call, AgentCall):
        return agents, agents
    fields = call.crew.fields
    made = {MANAGER} if fields.process == "hierarchical" and fields.manager_agent is None else set()
    tasks = {task_label(task, index) for index, task in enumerate(call.crew.tasks)}
    return agents | tasks, agents | made


def _with_method(method: str, names: set[str]) -> dict[str, str]:
    """The names under which an edit may speak of a method's own: these, and with the method before them, which count more."""
    return {name: name for name in names} | {f"{method}.{name}": name for name in names}


def _meant(given: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, str]:
    """What is given for a method's names: each with the name in the edit."""
    return {inner: name for name, inner in names.items() if name in given}


def _change(
    after: Edited, call: CrewCall | AgentCall, prompts: dict[str, str], models: dict[str, str], edit: Edit
) -> None:
    """Lays an edit of one call into the definition of the flow."""
    inner = Edit(
        prompts={name: edit.prompts[given] for name, given in prompts.items()},
        models={name: edit.models[given] for name, given in models.items()},
    )
    if not inner:
        return
    changed = edited_crew(call.definition, crew_state({}, []), inner)
    given = {"prompts": prompts, "models": models}
    inside = f"agents.{call.name}" if isinstance(call, AgentCall) else ""
    after.problems += [Problem(_in_edit(problem.path, given), problem.message) for problem in changed.problems]
    for path, where in changed.places.items():
        rest = path.removeprefix(inside) if inside else f".{path}"
        after.places[f"{call.place}{rest}"] = _in_edit(where, given)
    body = _body_at(after.definition, call.place)
    body.update(changed.definition["agents"][call.name] if isinstance(call, AgentCall) else changed.definition)


def _in_edit(path: str, given: Mapping[str, Mapping[str, str]]) -> str:
    """A path in the edit of one crew (`prompts.writer.goal`) as the path in the edit of the flow (`prompts.draft.writer.goal`)."""
    field, _, rest = path.partition(".")
    # Names may have dots themselves: the longest one that fits is meant.
    name = max((name for name in given[field] if rest == name or rest.startswith(f"{name}.")), key=len)
    return f"{field}.{given[field][name]}{rest.removeprefix(name)}"


def _body_at(definition: JsonObject, path: str) -> JsonObject:
    """The object at a path such as `methods.draft.do.do[0].action.with`."""
    body: Json = definition
    for part in path.replace("[", ".").replace("]", "").split("."):
        body = body[int(part)] if isinstance(body, list) else body[part]
    found: JsonObject = body
    return found
