"""Which step waits for which, and who makes what a step uses. Pure.

A step waits for what its `depends_on` names. When no step of the flow has a `depends_on`, each waits for the one before
it. A step also waits for the one that makes what it uses (`inputs`, `when`, `task`): the last step of the list that has an output of this
name and does not itself wait for the step, unless a step that it waits for anyway has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from activities import expressions, templates
from activities.adapters.flow.reading import FlowSpec, FlowStep

Edges = Mapping[str, frozenset[str]]


class Circle(ValueError):
    """Steps wait for each other; `steps` begins and ends with the same one."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__(" -> ".join(steps))
        self.steps = steps


@dataclass(frozen=True)
class Graph:
    """The steps of a flow in an order in which they can run, each with those that it waits for: at once, and at all."""

    order: tuple[str, ...]
    #: Whether no step says what it waits for.
    is_list: bool
    waits_for: Mapping[str, tuple[str, ...]]
    ancestors: Edges


def graph_of(flow: FlowSpec) -> Graph:
    """Unknown steps are left out. Raises `Circle`."""
    declared = declared_edges(flow)
    order = _ordered(flow, declared)
    above = _closure(order, declared)
    edges = {name: declared[name] | _makers(flow, step, above) for name, step in flow.steps.items()}
    order = _ordered(flow, edges)
    place = {name: index for index, name in enumerate(flow.steps)}
    waits_for = {name: tuple(sorted(edges[name], key=place.__getitem__)) for name in flow.steps}
    return Graph(tuple(order), is_list(flow), waits_for, _closure(order, edges))


def is_list(flow: FlowSpec) -> bool:
    """Whether no step says what it waits for, so that they run one after the other."""
    return all(step.depends_on is None for step in flow.steps.values())


def declared_edges(flow: FlowSpec) -> Edges:
    """What each step waits for by what is said of it."""
    names = list(flow.steps)
    if is_list(flow):
        return {name: frozenset(names[max(index - 1, 0) : index]) for index, name in enumerate(names)}
    return {name: frozenset(step.depends_on or ()) & (flow.steps.keys() - {name}) for name, step in flow.steps.items()}


def used_names(step: FlowStep) -> Iterator[tuple[str, str]]:
    """The names of values that a step uses, each with the path of where it does."""
    for source in step.sources or ():
        if source.parts and source.parts[0] not in ("inputs", "steps"):
            yield source.parts[0], source.path
    if step.part.when is not None and expressions.check(step.part.when) is None:
        names = expressions.variables(step.part.when) - {"inputs", "steps"}
        yield from ((name, f"{step.path}.when") for name in sorted(names))
    if step.sources is None and step.task is not None and templates.check(step.task) is None:
        names = templates.variables(step.task) - {"inputs", "steps"}
        yield from ((name, f"{step.path}.task") for name in sorted(names))


def used_steps(step: FlowStep) -> Iterator[tuple[str, str]]:
    """The steps that the inputs of a step name by their ids, each with the path of where they do."""
    for source in step.sources or ():
        if source.parts[:1] == ("steps",) and len(source.parts) > 1:
            yield source.parts[1], source.path


def makers_of(flow: FlowSpec, name: str) -> list[str]:
    """The steps that have an output of this name, in the order of the list."""
    return [step.id for step in flow.steps.values() if name in step.outputs]


def _makers(flow: FlowSpec, step: FlowStep, above: Edges) -> frozenset[str]:
    found = {name for name, _ in used_steps(step) if name in flow.steps and step.id not in {name, *above[name]}}
    for name, _ in used_names(step):
        makers = [maker for maker in makers_of(flow, name) if maker != step.id and step.id not in above[maker]]
        if makers and above[step.id].isdisjoint(makers):
            found.add(makers[-1])
    return frozenset(found)


def _ordered(flow: FlowSpec, edges: Edges) -> list[str]:
    """An order in which steps can run, near to that of the list. Raises `Circle`."""
    place = {name: index for index, name in enumerate(flow.steps)}
    sorter = TopologicalSorter(edges)
    try:
        sorter.prepare()
    except CycleError as error:
        raise Circle(list(reversed(error.args[1]))) from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        order += ready
        sorter.done(*ready)
    return order


def _closure(order: list[str], edges: Edges) -> Edges:
    found: dict[str, frozenset[str]] = {}
    for name in order:
        found[name] = edges[name].union(*(found[other] for other in edges[name]))
    return found
