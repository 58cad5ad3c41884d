"""Judges the edges of a graph: does everything lead somewhere, is everything reached, does every cycle end? Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from activities.adapters.langgraph.shape import Shape, suggest
from activities.adapters.langgraph.spec import END, START, Edge, endpoint
from omium_core.errors import Problem

#: What follows each node.
_Arrows = Mapping[str, Sequence[str]]


class Topology:
    """The edges between known nodes, by their source."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._ids = dict.fromkeys(shape.ids.values())
        self.out: dict[str, list[Edge]] = defaultdict(list)
        for edge in shape.edges.values():
            self.out[endpoint(edge.source)].append(edge)

    def problems(self) -> Iterator[Problem]:
        """All problems of the edges."""
        wrong = False
        for problem in self._unknown_ends():
            wrong = True
            yield problem
        # An edge to a misspelt node makes others look unreachable: one mistake, one message.
        if wrong or not self._shape.whole:
            return
        if not self.out[START]:
            yield Problem("edges", "Nothing leaves START: add an edge from START to the first node.")
            return
        following = {node: [endpoint(edge.to) for edge in edges] for node, edges in self.out.items()}
        reached = _reached([START], following)
        yield from self._unreached(reached)
        yield from self._endless(reached, following)

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

    def _endless(self, reached: set[str], following: _Arrows) -> Iterator[Problem]:
        """Cycles that can never be left, and cycles that are taken again every time."""
        leading = _turned(following)
        leaving = _reached([node for node in {*self._ids, END} if self._ends(node)], leading)
        always = {
            node: [endpoint(edge.to) for edge in edges if edge.each is None]
            for node, edges in self.out.items()
            if not any(edge.when for edge in edges)
        }
        on_cycle, on_sure_cycle = _on_cycles(following), _on_cycles(always)
        for index, node in self._shape.ids.items():
            if node not in reached:
                continue
            if node in on_cycle and node not in leaving:
                yield Problem(f"nodes[{index}]", f"A cycle without an exit: no path leads from {node!r} to END.")
            elif node in on_sure_cycle:
                yield Problem(
                    f"nodes[{index}]",
                    f"A cycle without an exit: the edges that lead from {node!r} back to it are taken every time. "
                    "Give one of them a condition (`when`).",
                )

    def _ends(self, node: str) -> bool:
        """Whether a run can end here: at END, at a node nothing follows, or where all edges may stay untaken."""
        edges = self.out.get(node)
        if node == END or not edges:
            return True
        return all(edge.each or edge.when for edge in edges)


def _reached(start: Iterable[str], arrows: _Arrows) -> set[str]:
    """All nodes on any path from these, themselves included."""
    seen = set(start)
    waiting = list(seen)
    while waiting:
        new = set(arrows.get(waiting.pop(), ())) - seen
        seen |= new
        waiting.extend(new)
    return seen


def _turned(arrows: _Arrows) -> _Arrows:
    turned: dict[str, list[str]] = defaultdict(list)
    for node, targets in arrows.items():
        for target in targets:
            turned[target].append(node)
    return turned


def _on_cycles(arrows: _Arrows) -> set[str]:
    """The nodes from which a path leads back to them.

    Two walks (Kosaraju): nodes are numbered as the first walk leaves them; walks against the arrows, begun in falling
    order, find the nodes that reach each other.
    """
    left: list[str] = []
    seen: set[str] = set()
    for root in arrows:
        walk = [(root, False)]
        while walk:
            node, done = walk.pop()
            if done:
                left.append(node)
            elif node not in seen:
                seen.add(node)
                walk.append((node, True))
                walk.extend((target, False) for target in arrows.get(node, ()) if target not in seen)
    turned = _turned(arrows)
    found = {node for node, targets in arrows.items() if node in targets}
    free = set(left)
    for root in reversed(left):
        group, waiting = [], [root] if root in free else []
        free.discard(root)
        while waiting:
            group.append(waiting.pop())
            new = [node for node in turned.get(group[-1], ()) if node in free]
            free.difference_update(new)
            waiting.extend(dict.fromkeys(new))
        if len(group) > 1:
            found.update(group)
    return found
