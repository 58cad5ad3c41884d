"""Edits of a graph and its state, as a person or a policy makes them when a run goes on from a checkpoint. Pure.

Prompts and models are looked for by the node's id, inside of other nodes by the path to it (`debate/say`). An edited
state takes the way that its new values lead to: the edges out of the nodes that ran last are read again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from activities.adapters.base import BadDefinition, Edit, JsonObject
from activities.adapters.langgraph import coded_values, values
from activities.adapters.langgraph.checks import graph_problems
from activities.adapters.langgraph.rerouting import rerouted
from activities.adapters.langgraph.shape import join, suggest
from activities.adapters.langgraph.spec import GraphDefinition, is_entrypoint
from omium_core.errors import InvalidInput, Problem

#: The prompt of each type of node: the field that a plain text replaces comes first.
_PROMPTS = {"llm": ("prompt", "system"), "approval": ("question",)}

_IN_CODE = "The graph is in code, and so are its prompts and models: change them there."


@dataclass
class _Place:
    """A node of a definition, and where it lies in it."""

    node: JsonObject
    path: str


def edited(definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
    """A definition and a state with an edit applied. Raises `InvalidInput` with paths from the root of the edit."""
    definition, state = copy.deepcopy(definition), copy.deepcopy(state)
    if is_entrypoint(definition):
        problems = [Problem(f"prompts.{name}", _IN_CODE) for name in edit.prompts]
        problems += [Problem(f"models.{name}", _IN_CODE) for name in edit.models]
        problems += coded_values.change(state, edit)
    else:
        problems = _change_nodes(definition, edit)
        problems += _change_state(definition, state, edit)
    if problems:
        raise InvalidInput("The edit does not fit the graph.", problems)
    return definition, state


def _change_nodes(definition: JsonObject, edit: Edit) -> list[Problem]:
    places = dict(_places(definition, "", ""))
    problems: list[Problem] = []
    #: Where the definition was changed, with the part of the edit that did it.
    changed: dict[str, str] = {}
    for name, prompt in edit.prompts.items():
        problems += _change_prompt(places, name, prompt, changed)
    for name, model in edit.models.items():
        problems += _change_model(places, name, model, changed)
    # An edit that broke the graph's own rules is told where it was made.
    for problem in graph_problems(definition, tools=None) if changed else ():
        if problem.path in changed:
            problems.append(Problem(changed[problem.path], problem.message))
    return problems


def _places(graph: JsonObject, path: str, prefix: str) -> Iterator[tuple[str, _Place]]:
    for index, node in enumerate(graph["nodes"]):
        name, where = f"{prefix}{node['id']}", join(path, "nodes", index)
        yield name, _Place(node, where)
        for key in ("definition", "graph"):
            if node["type"] == "subgraph" and key in node:
                yield from _places(node[key], join(where, key), f"{name}/")


def _change_prompt(
    places: Mapping[str, _Place], name: str, prompt: str | Mapping[str, str], changed: dict[str, str]
) -> Iterator[Problem]:
    path = f"prompts.{name}"
    if name not in places:
        yield Problem(path, f"There is no node {name!r}.{suggest(name, places)}")
        return
    place = places[name]
    fields = _PROMPTS.get(place.node["type"], ())
    if not fields:
        yield Problem(path, f"The node {name!r} has no prompt: its type is {place.node['type']!r}.")
        return
    whole = isinstance(prompt, str)
    for field, text in ({fields[0]: prompt} if isinstance(prompt, str) else prompt).items():
        where = path if whole else f"{path}.{field}"
        if field not in fields:
            yield Problem(where, f"The node {name!r} has no {field!r} to edit, only: {', '.join(fields)}.")
        elif not isinstance(text, str):
            yield Problem(where, "Must be a text.")
        else:
            place.node[field] = text
            changed[f"{place.path}.{field}"] = where


def _change_model(places: Mapping[str, _Place], name: str, model: str, changed: dict[str, str]) -> Iterator[Problem]:
    path = f"models.{name}"
    asking = {other: place for other, place in places.items() if place.node["type"] == "llm"}
    if name != "*" and name not in asking:
        reason = "asks no model" if name in places else "is not in the graph"
        yield Problem(path, f"The node {name!r} {reason}.{suggest(name, asking)}")
    elif not isinstance(model, str) or not model:
        yield Problem(path, "Must be the name of a model.")
    else:
        for other in asking if name == "*" else (name,):
            # A node that is named keeps its model, whatever all others get.
            if name != "*" or f"{asking[other].path}.model" not in changed:
                asking[other].node["model"] = model
                changed[f"{asking[other].path}.model"] = path


def _change_state(definition: JsonObject, state: JsonObject, edit: Edit) -> list[Problem]:
    if not edit.values and not edit.inputs:
        return []
    graph = GraphDefinition.model_validate(definition)
    problems = []
    before = values.first_values(graph, state["inputs"])
    state["inputs"] = {**state["inputs"], **edit.inputs}
    for name, value in edit.inputs.items():
        if name not in graph.state:
            continue
        if wrong := values.mismatch(graph.state[name], value):
            problems.append(Problem(f"inputs.{name}", wrong))
        # A field that still holds what the input gave it follows the input.
        elif state["values"].get(name) == before[name]:
            state["values"][name] = value
    for name, value in edit.values.items():
        if name not in graph.state:
            problems.append(Problem(f"values.{name}", f"There is no state field {name!r}.{suggest(name, graph.state)}"))
        elif wrong := values.mismatch(graph.state[name], value):
            problems.append(Problem(f"values.{name}", wrong))
        else:
            state["values"][name] = value
    if problems:
        return problems
    try:
        state.update(rerouted(graph, state))
    except BadDefinition as error:
        return [Problem("values" if edit.values else "inputs", str(error))]
    return []
