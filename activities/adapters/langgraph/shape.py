"""Reads the parts of a definition one by one, so that a broken node does not hide what is wrong elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from activities.adapters.langgraph.spec import (
    NODE_MODELS,
    AnyNode,
    Edge,
    GraphDefinition,
    StateField,
)
from omium_core.errors import Problem

Part = TypeVar("Part", bound=BaseModel)

#: Stands for a nested graph while the shape of its node is read; the graph itself is judged on its own.
_STAND_IN = GraphDefinition.model_construct(nodes=[], edges=[])

_MESSAGES = {
    "string_type": "Must be a text.",
    "string_unicode": "Must be a text of valid characters.",
    "int_type": "Must be an integer.",
    "float_type": "Must be a number.",
    "bool_type": "Must be true or false.",
    "list_type": "Must be an array.",
    "dict_type": "Must be an object.",
    "model_type": "Must be an object.",
    "missing": "Is required.",
}


@dataclass
class Shape:
    """What could be read of a graph; parts are kept under their position in the definition."""

    nodes: dict[int, AnyNode] = field(default_factory=dict)
    edges: dict[int, Edge] = field(default_factory=dict)
    state: dict[str, StateField] = field(default_factory=dict)
    #: Ids of all nodes, also of those that could not be read.
    ids: dict[int, str] = field(default_factory=dict)
    #: Nested graphs as they came, each with the key that it was under.
    nested: dict[int, tuple[str, Any]] = field(default_factory=dict)
    #: Whether all nodes and edges could be read: only then can be said what is not reachable.
    whole: bool = True
    #: Whether it is known which fields there are.
    has_state: bool = True


def read_graph(raw: dict[str, Any]) -> tuple[Shape, list[Problem]]:
    """What a definition holds, and what is wrong with its shape; paths from the definition's root."""
    shape = Shape()
    outline = {**raw, "nodes": [], "edges": [], "state": {}}
    problems = [p for p in read(GraphDefinition, outline, "")[1] if p.path != "nodes"]
    for key, kind, word in (("nodes", list, "an array"), ("edges", list, "an array"), ("state", dict, "an object")):
        if key in raw and not isinstance(raw[key], kind):
            problems.append(Problem(key, f"Must be {word}."))
        elif key not in raw and key != "state":
            problems.append(Problem(key, "Is required."))
    nodes = raw.get("nodes")
    if nodes == []:
        problems.append(Problem("nodes", "A graph needs at least one node."))
    for index, part in enumerate(nodes if isinstance(nodes, list) else []):
        problems += _read_node(shape, index, part)
    edges = raw.get("edges")
    for index, part in enumerate(edges if isinstance(edges, list) else []):
        edge, wrong = read(Edge, part, f"edges[{index}]")
        problems += wrong
        if edge is not None:
            shape.edges[index] = edge
    fields = raw.get("state", {})
    shape.has_state = isinstance(fields, dict)
    for name, part in fields.items() if isinstance(fields, dict) else ():
        state_field, wrong = read(StateField, part, f"state.{name}")
        problems += wrong
        # A field whose shape is wrong still has its name, so that nobody is told that it is missing.
        shape.state[name] = state_field or StateField()
    counts = (len(part) if isinstance(part, list) else -1 for part in (nodes, edges))
    shape.whole = [len(shape.ids), len(shape.edges)] == list(counts)
    return shape, problems


def read(model: type[Part], raw: Any, path: str) -> tuple[Part | None, list[Problem]]:
    """One part, or None and its problems."""
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        names = [f.alias or name for name, f in model.model_fields.items()]
        return None, [_problem(details, path, names) for details in error.errors(include_url=False)]


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def join(path: str, *parts: str | int) -> str:
    """A path with more parts: `nodes[2].tool`."""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _read_node(shape: Shape, index: int, raw: Any) -> list[Problem]:
    path = f"nodes[{index}]"
    if not isinstance(raw, dict):
        return [Problem(path, "Must be an object.")]
    if isinstance(raw.get("id"), str):
        shape.ids[index] = raw["id"]
    kind = raw.get("type")
    if "type" not in raw:
        return [Problem(f"{path}.type", f"Is required: one of {', '.join(NODE_MODELS)}.")]
    if not isinstance(kind, str) or kind not in NODE_MODELS:
        hint = suggest(str(kind), NODE_MODELS)
        return [Problem(f"{path}.type", f"Unknown type {kind!r}; known are: {', '.join(NODE_MODELS)}.{hint}")]
    if kind == "subgraph":
        keys = [key for key in ("definition", "graph") if key in raw]
        for key in keys[:1]:
            shape.nested[index] = (key, raw[key])
            raw = {**raw, key: _STAND_IN}
    node, problems = read(NODE_MODELS[kind], raw, path)
    if node is not None:
        assert isinstance(node, AnyNode)
        shape.nodes[index] = node
    return problems


def _problem(details: ErrorDetails, path: str, names: Sequence[str]) -> Problem:
    location = details["loc"]
    where = join(path, *location)
    kind = details["type"]
    if kind == "extra_forbidden" and location:
        name = str(location[-1])
        hint = suggest(name, names) if len(location) == 1 else ""
        return Problem(where, f"Unknown field {name!r}.{hint}")
    if kind == "string_pattern_mismatch":
        return Problem(where, f"{details['input']!r} is not allowed here: see the field's description in the schema.")
    return Problem(where, _MESSAGES.get(kind, f"{details['msg']}."))
