"""Judges the edges of a graph: does everything lead somewhere, is everything reached, does every cycle end? Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from activities.adapters.langgraph.routing import is_sure
from activities.adapters.langgraph.shape import Shape, suggest
from activities.adapters.langgraph.spec import END, START, Edge, endpoint
from omium_core.errors import Problem


class Topology:
    """The edges between known nodes, by their source."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._ids = dict.fromkeys(shape.ids.values())
        self.out: dict[str, list[Edge]] = defaultdict(list)
        for edge in shape.edges.values():
            self.out[endpoint(edge.source)].append(edge)

    def problems(self) -> list[Problem]:
        """All problems of the edges."""
        problems = list(self._unknown_ends())
        if not self._shape.whole:
            return problems
        if not self.out[START]:
            problems.append(Problem("edges", "Nothing leaves START: add an edge from START to the first node."))
            return problems
        if problems:
            # An edge to a misspelt node makes others look unreachable: one mistake, one message.
            return problems
        reached = self.reached_from(START)
        problems += self._unreached(reached)
        problems += self._endless(reached)
        return problems

    def targets(self, node: str) -> list[str]:
        return [endpoint(edge.to) for edge in self.out[node]]

    def reached_from(self, node: str) -> set[str]:
        """All nodes on any path from a node, itself included."""
        seen = {node}
        waiting = [node]
        while waiting:
            for target in self.targets(waiting.pop()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    def _unknown_ends(self) -> Iterator[Problem]:
        for index, edge in self._shape.edges.items():
            source, target = endpoint(edge.source), endpoint(edge.to)
            if source == END:
                yield Problem(f"edges[{index}].from", "Nothing can come after END.")
            elif source != START and source not in self._ids:
                yield Problem(f"edges[{index}].from", self._no_node(edge.source))
            if target == START:
                yield Problem(f"edges[{index}].to", "Nothing can lead to START.")
            elif target != END and target not in self._ids:
                yield Problem(f"edges[{index}].to", self._no_node(edge.to))

    def _no_node(self, name: str) -> str:
        return f"There is no node {name!r}.{suggest(name, [*self._ids, START, END])}"

    def _unreached(self, reached: set[str]) -> Iterator[Problem]:
        for index, node in self._shape.ids.items():
            if node not in reached and endpoint(node) not in (START, END):
                yield Problem(f"nodes[{index}]", f"No path leads from START to {node!r}.")

    def _endless(self, reached: set[str]) -> Iterator[Problem]:
        """Cycles that can never be left, and cycles that are taken again every time."""
        every = {node: self.targets(node) for node in self._ids}
        always = {
            node: [endpoint(edge.to) for edge in self.out[node] if is_sure(self.out[node], edge)] for node in self._ids
        }
        for index, node in self._shape.ids.items():
            if node not in reached or not _returns(node, every):
                continue
            if not self._can_end(node):
                yield Problem(f"nodes[{index}]", f"A cycle without an exit: no path leads from {node!r} to END.")
            elif _returns(node, always):
                yield Problem(
                    f"nodes[{index}]",
                    f"A cycle without an exit: the edges that lead from {node!r} back to it are taken every time. "
                    "Give one of them a condition (`when`).",
                )

    def _can_end(self, node: str) -> bool:
        return any(self._ends(other) for other in self.reached_from(node))

    def _ends(self, node: str) -> bool:
        """Whether a run can end here: at END, at a node nothing follows, or where all edges may stay untaken."""
        edges = self.out[node]
        if node == END or not edges:
            return True
        conditional = any(edge.when for edge in edges)
        return all(edge.each or (conditional and edge.when) for edge in edges)


def _returns(node: str, edges: dict[str, list[str]]) -> bool:
    """Whether the edges lead from a node back to it."""
    seen: set[str] = set()
    waiting = list(edges.get(node, ()))
    while waiting:
        here = waiting.pop()
        if here == node:
            return True
        if here not in seen:
            seen.add(here)
            waiting.extend(edges.get(here, ()))
    return False
