"""LangGraph definitions, without LangGraph: validation, the first step, the inputs, the published schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from activities.adapters.base import Edit, JsonObject, Plan
from activities.adapters.langgraph import values
from activities.adapters.langgraph.checks import graph_problems
from activities.adapters.langgraph.edits import edited
from activities.adapters.langgraph.routing import route, step_name
from activities.adapters.langgraph.shape import read
from activities.adapters.langgraph.spec import (
    END,
    START,
    EntrypointDefinition,
    GraphDefinition,
    endpoint,
    is_entrypoint,
)
from activities.adapters.langgraph.view import plain, view
from omium_core.errors import Problem

#: Name of the first step where only loading, or running, tells what it does.
UNKNOWN_STEP = "start"

_ENTRYPOINT_FORM = "Must be `package.module:name`."


class LangGraphDefinition:
    """The pure half of the adapter."""

    name = "langgraph"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems, with paths from the definition's root. Whether an entry point exists only a worker can tell."""
        if not isinstance(definition, dict):
            return [Problem("", "Must be an object.")]
        if is_entrypoint(definition):
            return _entrypoint_problems(definition)
        return graph_problems(definition, tools=tools)

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Inputs that are named like a state field must have its type."""
        if is_entrypoint(definition):
            return []
        fields = GraphDefinition.model_validate(definition).state
        return [
            Problem(name, wrong)
            for name, field in fields.items()
            if name in inputs and (wrong := values.mismatch(field, inputs[name]))
        ]

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """The first step; what follows only running tells."""
        if is_entrypoint(definition):
            return Plan(steps=(UNKNOWN_STEP,), open_ended=True)
        graph = GraphDefinition.model_validate(definition)
        agents = tuple(node.id for node in graph.nodes)
        return Plan(steps=(step_name(first_nodes(graph, inputs)) or UNKNOWN_STEP,), open_ended=True, agents=agents)

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Whether it names code, or a tool that is not known here."""
        return is_entrypoint(definition) or not tools.issuperset(tool_names(definition))

    def json_schema(self) -> JsonObject:
        """The JSON Schema of both kinds of definition."""
        schema: JsonObject = TypeAdapter[Any](GraphDefinition | EntrypointDefinition).json_schema(by_alias=True)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "LangGraph workflow definition",
            **schema,
        }

    def view(self, state: JsonObject) -> JsonObject:
        """A state for people; needs no LangGraph."""
        return view(state)

    def values(self, state: JsonObject) -> JsonObject:
        """The fields of the state; those of a graph in code as plain JSON."""
        fields: JsonObject = plain(state["values"]) if state.get("coded") else dict(state["values"])
        return fields

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The ids of the nodes that run next, each once. Empty where loading the graph has to tell the first ones."""
        unknown = "graph" not in state and is_entrypoint(definition)
        return () if unknown else tuple(dict.fromkeys(state["next"]))

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """The ids of the graph's own nodes. Empty for a graph in code, which only a worker can read."""
        if is_entrypoint(definition):
            return frozenset()
        return frozenset(node.id for node in GraphDefinition.model_validate(definition).nodes)

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """A definition and a state with an edit applied: see `edits.py`."""
        return edited(definition, state, edit)


def first_nodes(graph: GraphDefinition, inputs: JsonObject) -> list[str]:
    """The nodes of the first step of a graph that gets these inputs, one as often as it runs."""
    first = values.first_values(graph, inputs)
    edges = [edge for edge in graph.edges if endpoint(edge.source) == START]
    branches = route(edges, {**first, "inputs": inputs, "state": first})
    return [branch.node for branch in branches if branch.node != END]


def tool_names(definition: JsonObject) -> Iterator[str]:
    """All tools that a graph and the graphs inside it name."""
    nodes = definition.get("nodes")
    for node in nodes if isinstance(nodes, list) else ():
        if not isinstance(node, dict):
            continue
        named = [node.get("tool")] if node.get("type") == "tool" else node.get("tools")
        yield from (name for name in (named if isinstance(named, list) else ()) if isinstance(name, str))
        inner = node.get("definition", node.get("graph"))
        if isinstance(inner, dict):
            yield from tool_names(inner)


def _entrypoint_problems(definition: JsonObject) -> list[Problem]:
    parsed, problems = read(EntrypointDefinition, definition, "")
    if parsed is None:
        # The pattern says nothing to people.
        return [Problem(p.path, _ENTRYPOINT_FORM) if "description in the schema" in p.message else p for p in problems]
    reserved = (name for name in parsed.config.configurable if name.startswith(("__", "checkpoint_", "thread_id")))
    return [Problem(f"config.configurable.{name}", f"The name {name!r} is reserved.") for name in reserved]


DEFINITION = LangGraphDefinition()
