"""The LangGraph adapter: one super-step of a graph per step, with the state carried as JSON data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from cachetools import LRUCache
from pydantic import ValidationError

from activities.adapters.base import Adapter, BadDefinition, JsonObject, StepContext, StepResult, ToolBox
from activities.adapters.langgraph import values
from activities.adapters.langgraph.build import compile_graph, first_input, written_fields
from activities.adapters.langgraph.definition import DEFINITION, UNKNOWN_STEP, first_nodes
from activities.adapters.langgraph.loading import Entrypoints, NotLoadable
from activities.adapters.langgraph.program import Program, Progress, advance, begin
from activities.adapters.langgraph.routing import step_name
from activities.adapters.langgraph.saver import Session
from activities.adapters.langgraph.spec import EntrypointDefinition, GraphDefinition, is_entrypoint
from activities.adapters.langgraph.view import FORMAT, plain, view
from activities.adapters.model_clients import step_error
from omium_core.errors import Problem
from omium_core.settings import Settings

#: Compiled graphs that are kept; a definition that is not among them is compiled again in a few milliseconds.
_KEPT_GRAPHS = 256


def create(settings: Settings, scratch: Path) -> Adapter:
    """The adapter of a worker process; `scratch` is not needed."""
    return LangGraphAdapter(Entrypoints(settings.agent_path, settings.agent_modules), settings.max_steps)


class LangGraphAdapter:
    """Runs graphs in JSON and graphs in code."""

    name = "langgraph"

    def __init__(self, entrypoints: Entrypoints, max_steps: int) -> None:
        self._entrypoints = entrypoints
        self._max_steps = max_steps
        self._graphs: LRUCache[str, tuple[GraphDefinition, Program]] = LRUCache(_KEPT_GRAPHS)

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """Loads the entry point, or compiles the graph; all problems."""
        problems = DEFINITION.validate(definition, tools=None)
        if problems:
            return problems
        try:
            if is_entrypoint(definition):
                await self._entrypoints.program(EntrypointDefinition.model_validate(definition))
            else:
                self._graph(definition)
        except NotLoadable as error:
            return [Problem("entrypoint", str(error))]
        except ValueError as error:
            return [Problem("", f"LangGraph does not take the graph: {error}")]
        return []

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        """The state before the first step."""
        state: JsonObject = {"format": FORMAT, "inputs": inputs}
        if is_entrypoint(definition):
            return {**state, "coded": True, "values": {}, "next": [UNKNOWN_STEP]}
        graph, _ = self._graph(definition)
        return {**state, "values": values.first_values(graph, inputs), "next": first_nodes(graph, inputs)}

    async def first_step(self, definition: JsonObject) -> str:
        """Name of the first step; `start` where the inputs decide it."""
        if not is_entrypoint(definition):
            try:
                return DEFINITION.plan(definition, {}).steps[0]
            except BadDefinition:
                return UNKNOWN_STEP
        program = await self._entrypoints.program(EntrypointDefinition.model_validate(definition))
        return program.first_step or UNKNOWN_STEP

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """One super-step: all nodes that are due, in parallel.

        Raises `BadDefinition` for a definition, state or value that cannot be run, `ModelUnavailable` and
        `ModelRejected` for failed calls of an OpenAI client, and what a node raised for everything else.
        """
        _refuse_foreign(state)
        if is_entrypoint(definition):
            return await self._run_code(EntrypointDefinition.model_validate(definition), state, context)
        return await self._run_graph(definition, state, context)

    def view(self, state: JsonObject) -> JsonObject:
        """The values and the nodes that run next."""
        return view(state)

    async def _run_graph(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        graph, program = self._graph(definition)
        present = _present_values(graph, state)
        self._refuse_endless(state, graph.max_steps)
        session = program.session(context, {**state, "values": present})
        session.values = present
        progress = await _advance(program, session, first_input(present))
        if progress.interrupts:
            return StepResult(state, None, interrupts=progress.interrupts)
        ran = state["next"]
        after = {**program.saver.state(session, progress.following), "ran": _once(ran)}
        unit = _by_node((node, written_fields(update)) for node, update in progress.updates)
        return _result(after, progress, after["values"], unit, ran)

    async def _run_code(self, definition: EntrypointDefinition, state: JsonObject, context: StepContext) -> StepResult:
        program = await self._entrypoints.program(definition)
        self._refuse_endless(state, definition.max_steps)
        session = program.session(context, state)
        ran = state["next"]
        if "graph" not in state:
            ran = await _begin(program, session, state["inputs"])
        progress = await _advance(program, session, None) if ran else Progress([], ())
        if progress.interrupts:
            return StepResult(state, None, interrupts=progress.interrupts)
        after = program.saver.state(session, progress.following)
        unit = _by_node((node, program.shown(update)) for node, update in progress.updates)
        return _result(after, progress, _outputs(program, after), unit, ran)

    def _graph(self, definition: JsonObject) -> tuple[GraphDefinition, Program]:
        """A definition as it was read and compiled; shared by all runs of it."""
        key = sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
        found = self._graphs.get(key)
        if found is None:
            try:
                graph = GraphDefinition.model_validate(definition)
            except ValidationError as error:
                raise BadDefinition("The definition is not valid; it has to be checked before it is run.") from error
            found = self._graphs[key] = (graph, compile_graph(graph))
        return found

    def _refuse_endless(self, state: JsonObject, own_limit: int | None) -> None:
        limit = own_limit or self._max_steps
        if state.get("graph", {}).get("step", 0) >= limit:
            raise BadDefinition(f"The graph did not end within {limit} steps (max_steps).")


async def _begin(program: Program, session: Session, inputs: JsonObject) -> Sequence[str]:
    with _known_errors():
        return await begin(program, session, inputs)


async def _advance(program: Program, session: Session, first: Any) -> Progress:
    begun = "graph" in session.state or bool(session.saved)
    with _known_errors():
        return await advance(program, session, None if begun else first, one_step=True)


@contextmanager
def _known_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        known = step_error(error)
        if known is None or known is error:
            raise
        raise known from error


def _result(state: JsonObject, progress: Progress, outputs: Any, unit: JsonObject, ran: Sequence[str]) -> StepResult:
    units = tuple(_once(ran))
    if progress.following:
        return StepResult(state, step_name(progress.following), unit=unit, units=units)
    return StepResult(state, None, outputs=outputs, unit=unit, units=units)


def _once(nodes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(nodes))


def _refuse_foreign(state: JsonObject) -> None:
    if state.get("format") != FORMAT or not isinstance(state.get("values"), dict) or "inputs" not in state:
        raise BadDefinition("The state is none that this framework wrote.")


def _present_values(graph: GraphDefinition, state: JsonObject) -> JsonObject:
    """The state's fields as the graph knows them: a state or a graph may have been edited since the last step."""
    unknown = set(state["next"]) - {node.id for node in graph.nodes}
    if unknown:
        raise BadDefinition(f"The next step needs the node {min(unknown)!r}, which the graph does not have.")
    present = {**values.first_values(graph, state["inputs"]), **state["values"]}
    for name, field in graph.state.items():
        if wrong := values.mismatch(field, present[name]):
            raise BadDefinition(f"The state field {name!r} cannot be used. {wrong}")
    return {name: present[name] for name in graph.state}


def _by_node(updates: Iterable[tuple[str, Any]]) -> JsonObject:
    """What each node wrote; an array where a node ran several times."""
    grouped: dict[str, list[Any]] = {}
    for node, update in updates:
        grouped.setdefault(node, []).append(update)
    return {node: written if len(written) > 1 else written[0] for node, written in grouped.items()}


def _outputs(program: Program, state: JsonObject) -> Any:
    """The values of the graph's output schema, as plain JSON."""
    wanted = program.graph.output_channels
    found = state["values"]
    if isinstance(wanted, str):
        return plain(found.get(wanted))
    return {name: plain(found[name]) for name in wanted if name in found}
