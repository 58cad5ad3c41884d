"""Which nodes follow: edges and conditions over a state. Pure, so that a plan and a running graph agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activities import expressions
from activities.adapters.base import BadDefinition
from activities.adapters.langgraph.spec import Edge, endpoint


@dataclass(frozen=True)
class Branch:
    """A node that runs next; `index` is None where it is not one of a list's items."""

    node: str
    item: Any = None
    index: int | None = None


def route(edges: Sequence[Edge], variables: Mapping[str, Any]) -> list[Branch]:
    """What follows a node with these outgoing edges. `variables` are the state fields, `inputs` and `state`.

    Raises `BadDefinition` for a condition that cannot be evaluated and for an `each` over something that is no array.
    """
    conditional = any(edge.when for edge in edges)
    taken: list[Branch] = []
    otherwise: list[Branch] = []
    for edge in edges:
        branches = _items(edge, variables) if edge.each else _plain(edge, variables)
        (otherwise if conditional and edge.when is None else taken).extend(branches)
    chosen = taken if taken or not conditional else otherwise
    return _without_repeats(chosen)


def step_name(nodes: Iterable[str]) -> str:
    """Name of a step that runs these nodes: `plan`, `search ×3`, `draft + review`."""
    counts = Counter(nodes)
    return " + ".join(name if n == 1 else f"{name} ×{n}" for name, n in counts.items())


def _plain(edge: Edge, variables: Mapping[str, Any]) -> list[Branch]:
    return [Branch(endpoint(edge.to))] if edge.when is None or _holds(edge, edge.when, variables) else []


def _items(edge: Edge, variables: Mapping[str, Any]) -> list[Branch]:
    assert edge.each is not None
    items = variables.get(edge.each)
    if not isinstance(items, list):
        raise BadDefinition(f"The edge from {edge.source!r} to {edge.to!r} needs an array in {edge.each!r}.")
    branches = [Branch(endpoint(edge.to), item, index) for index, item in enumerate(items)]
    if edge.when is None:
        return branches
    when = edge.when
    return [b for b in branches if _holds(edge, when, {**variables, "item": b.item, "index": b.index})]


def _holds(edge: Edge, when: str, variables: Mapping[str, Any]) -> bool:
    try:
        return expressions.evaluate(when, variables)
    except expressions.ExpressionError as error:
        raise BadDefinition(
            f"The condition {when!r} of the edge from {edge.source!r} to {edge.to!r} cannot be evaluated: {error}"
        ) from error


def _without_repeats(branches: list[Branch]) -> list[Branch]:
    """Two edges may lead to the same node; it runs once. Items are never merged."""
    seen: set[str] = set()
    kept = []
    for branch in branches:
        if branch.index is None:
            if branch.node in seen:
                continue
            seen.add(branch.node)
        kept.append(branch)
    return kept
