"""The graph of a GraphFlow: whether it can run, and which of its nodes come next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from activities.adapters.autogen.components import did_you_mean, join
from activities.adapters.autogen.schema import Graph
from activities.adapters.base import JsonObject
from omium_core.errors import Problem


def check_graph(graph: Graph, participants: tuple[str, ...], path: str, *, has_end: bool) -> Iterator[Problem]:
    """All problems of a graph. `has_end` says that the team has a termination condition or a limit of turns."""
    problems = list(_check_names(graph, participants, join(path, "nodes")))
    yield from problems
    if problems:
        return
    if not start_nodes(graph, participants):
        yield Problem(path, "A graph needs a node to start with: one without incoming edges, or `default_start_node`.")
    if all(node.edges for node in graph.nodes.values()):
        yield Problem(path, "A graph needs a node to end with: one without outgoing edges.")
    for name, node in graph.nodes.items():
        if len({edge.condition is None for edge in node.edges}) > 1:
            yield Problem(f"{path}.nodes.{name}.edges", "Either all edges of a node have a condition, or none has.")
    yield from _check_groups(graph, path)
    yield from _check_cycles(graph, path, has_end)


def _check_names(graph: Graph, participants: tuple[str, ...], path: str) -> Iterator[Problem]:
    for name, node in graph.nodes.items():
        if node.name != name:
            yield Problem(f"{path}.{name}.name", f"This node is called {name!r} by its key.")
        if name not in participants:
            yield Problem(f"{path}.{name}", f"There is no participant {name!r}{did_you_mean(name, participants)}")
        for index, edge in enumerate(node.edges):
            if edge.target not in graph.nodes:
                here = f"{path}.{name}.edges[{index}].target"
                yield Problem(here, f"There is no node {edge.target!r}{did_you_mean(edge.target, graph.nodes)}")
    start = graph.default_start_node
    if start is not None and start not in graph.nodes:
        yield Problem(f"{path.removesuffix('nodes')}default_start_node", f"There is no node {start!r}.")


def _check_groups(graph: Graph, path: str) -> Iterator[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for name, node in graph.nodes.items():
        for index, edge in enumerate(node.edges):
            if seen.setdefault((edge.target, edge.group), edge.activation_condition) != edge.activation_condition:
                here = f"{path}.nodes.{name}.edges[{index}].activation_condition"
                yield Problem(here, f"Other edges to {edge.target!r} in this activation group say otherwise.")


def _check_cycles(graph: Graph, path: str, has_end: bool) -> Iterator[Problem]:
    for cycle in _cycles(graph):
        way = " -> ".join((*cycle, cycle[0]))
        if all(edge.condition is None for name in cycle for edge in graph.nodes[name].edges):
            yield Problem(path, f"The cycle {way} has no way out: give its edges conditions.")
            return
        if not has_end:
            yield Problem(path, f"The graph has a cycle ({way}): it needs a termination_condition or max_turns.")
            return


def _cycles(graph: Graph) -> Iterator[tuple[str, ...]]:
    """One cycle for every edge back to a node that leads to it; a walk with its own stack, however long the graph."""
    done: set[str] = set()
    for first in graph.nodes:
        if first in done:
            continue
        trail = [first]
        todo = [iter(graph.nodes[first].edges)]
        while trail:
            edge = next(todo[-1], None)
            if edge is None:
                done.add(trail.pop())
                todo.pop()
            elif edge.target in trail:
                yield tuple(trail[trail.index(edge.target) :])
            elif edge.target not in done:
                trail.append(edge.target)
                todo.append(iter(graph.nodes[edge.target].edges))


def start_nodes(graph: Graph, participants: tuple[str, ...]) -> tuple[str, ...]:
    """The nodes that run first, in the order of the participants."""
    if graph.default_start_node:
        return (graph.default_start_node,)
    targets = {edge.target for node in graph.nodes.values() for edge in node.edges}
    return tuple(name for name in participants if name in graph.nodes and name not in targets)


def settle(graph: Graph, participants: tuple[str, ...], manager: Mapping[str, Any]) -> JsonObject:
    """The manager's state as it should be kept: in the order of the participants, and ready for loops.

    AutoGen runs ready nodes at once, in an order that chance decides. It counts the edges that reached a node, and begins to
    count anew when the node runs, but only in the memory of one process: the counts of ready nodes are therefore set back
    here, before the process may end.
    """
    ready = sorted(manager["ready"], key=participants.index)
    remaining = {target: dict(groups) for target, groups in manager["remaining"].items()}
    enqueued = {target: dict(groups) for target, groups in manager["enqueued_any"].items()}
    whole: dict[tuple[str, str], int] = {}
    for node in graph.nodes.values():
        for edge in node.edges:
            whole[edge.target, edge.group] = whole.get((edge.target, edge.group), 0) + 1
    for (target, group), count in whole.items():
        if target in ready:
            if enqueued.get(target, {}).get(group):
                enqueued[target][group] = False
            if remaining.get(target, {}).get(group) == 0:
                remaining[target][group] = count
    return {**manager, "ready": ready, "remaining": remaining, "enqueued_any": enqueued}
