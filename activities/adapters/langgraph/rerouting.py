"""The way on from an edited state of a graph in JSON: what follows the nodes that ran last, in LangGraph's own terms. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from activities.adapters.base import JsonObject
from activities.adapters.langgraph.coded_values import coded
from activities.adapters.langgraph.routing import Branch, route
from activities.adapters.langgraph.spec import END, START, GraphDefinition, endpoint
from activities.adapters.langgraph.view import MARK

#: LangGraph's channels of what runs next: one for each node, and one for the items of `each`.
_NODE, _ITEMS = "branch:to:", "__pregel_tasks"


def rerouted(graph: GraphDefinition, state: JsonObject) -> JsonObject:
    """The parts of the state that say what runs next, after its values changed.

    Raises `BadDefinition` for a condition that cannot be read with the new values.
    """
    if "graph" not in state:
        return {"next": _names(_branches(graph, state, [START]))}
    if "ran" not in state:
        return {}
    branches = _branches(graph, state, state["ran"])
    if _names(branches) == state["next"] and all(branch.index is None for branch in branches):
        return {}
    return {"next": _names(branches), "graph": _scheduled(state["graph"], branches)}


def _branches(graph: GraphDefinition, state: JsonObject, sources: Sequence[str]) -> list[Branch]:
    variables = {**state["values"], "inputs": state["inputs"], "state": state["values"]}
    found: list[Branch] = []
    for source in sources:
        edges = [edge for edge in graph.edges if endpoint(edge.source) == source]
        found += [branch for branch in route(edges, variables) if branch.node != END]
    return found


def _names(branches: Sequence[Branch]) -> list[str]:
    """The nodes as LangGraph orders them: items first, then each other node once, by name."""
    items = [branch.node for branch in branches if branch.index is not None]
    return items + sorted({branch.node for branch in branches if branch.index is None})


def _scheduled(book: JsonObject, branches: Sequence[Branch]) -> JsonObject:
    """LangGraph's bookkeeping with these nodes due and no others."""
    version = max(book["versions"].values()) + 1
    due = {_NODE + branch.node: None for branch in branches if branch.index is None}
    items: list[Any] = [
        {MARK: "send", "node": branch.node, "input": coded({"item": branch.item, "index": branch.index})}
        for branch in branches
        if branch.index is not None
    ]
    kept = {name: value for name, value in book["channels"].items() if not name.startswith(_NODE)}
    changed = [*due, _ITEMS]
    return {
        **book,
        "channels": {**kept, **due, _ITEMS: items},
        "versions": {**book["versions"], **dict.fromkeys(changed, version)},
        "updated": sorted({*(book["updated"] or ()), *changed}),
    }
