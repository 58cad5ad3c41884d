"""Compiles a graph in JSON to a LangGraph program."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.graph import END as GRAPH_END
from langgraph.graph import START as GRAPH_START
from langgraph.graph import StateGraph
from langgraph.types import Send

from activities.adapters.base import BadDefinition, JsonObject, StepContext
from activities.adapters.langgraph.codec import Codec
from activities.adapters.langgraph.nodes import Place, RunInner, action_of
from activities.adapters.langgraph.people import interruption
from activities.adapters.langgraph.program import Program, advance
from activities.adapters.langgraph.routing import Branch, route
from activities.adapters.langgraph.saver import SESSION, Layout, Session, StateSaver
from activities.adapters.langgraph.spec import END, START, AnyNode, Edge, GraphDefinition, StateField, endpoint
from activities.adapters.langgraph.values import REDUCERS, WrongValue, first_values

#: Begins the channel of a state field, so that a node and a field may have the same name.
_FIELD = ":"

_LAYOUT = Layout(
    field_of=lambda channel: channel[1:] if channel[0] == _FIELD else None,
    channel_of=lambda name: _FIELD + name,
    coded=False,
)

#: Longest run of a graph inside a node, where it names none.
INNER_STEPS = 200

_NodeFunction = Callable[[dict[str, Any], RunnableConfig], Awaitable[dict[str, Any]]]
_Router = Callable[[dict[str, Any], RunnableConfig], Awaitable[list[str | Send]]]


def compile_graph(graph: GraphDefinition) -> Program:
    """The program of a valid graph."""
    channels = {_FIELD + name: _channel(name, field) for name, field in graph.state.items()}
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(TypedDict("State", channels))  # type: ignore[operator]
    for node in graph.nodes:
        # The state's type is made at run time, so no checker can tell that the function takes it.
        function: Any = _function(graph, node)
        builder.add_node(node.id, function)
    edges: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        edges.setdefault(endpoint(edge.source), []).append(edge)
    for source, outgoing in edges.items():
        start = GRAPH_START if source == START else source
        targets = list(dict.fromkeys(_target(endpoint(edge.to)) for edge in outgoing))
        if any(edge.when or edge.each for edge in outgoing):
            builder.add_conditional_edges(start, _router(outgoing), targets)
        else:
            for target in targets:
                builder.add_edge(start, target)
    saver = StateSaver(Codec())
    # Counts for a graph inside a node only: a run's own steps are counted one call at a time.
    config = RunnableConfig(recursion_limit=graph.max_steps or INNER_STEPS)
    return Program(builder.compile(checkpointer=saver), saver, _LAYOUT, config)


def first_input(values: dict[str, Any]) -> dict[str, Any]:
    """The graph's input: the first value of every state field."""
    return {_FIELD + name: value for name, value in values.items()}


def written_fields(update: dict[str, Any] | None) -> dict[str, Any]:
    """A node's update by state field."""
    return {channel[1:]: value for channel, value in (update or {}).items()}


def _target(name: str) -> str:
    return GRAPH_END if name == END else name


def _channel(name: str, field: StateField) -> Any:
    reduce = REDUCERS.get(field.reducer)
    if reduce is None:
        return Any

    def reducer(present: Any, new: Any) -> Any:
        try:
            return reduce(present, new)
        except WrongValue as error:
            raise BadDefinition(f"The state field {name!r} cannot take the value: {error}.") from error

    return Annotated[Any, reducer]


def _function(graph: GraphDefinition, node: AnyNode) -> _NodeFunction:
    action = action_of(graph, node, _prepare)

    async def run(argument: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        session: Session = config["configurable"][SESSION]
        # A branch of `each` gets its item as argument, everything else is read from the state as this step began.
        item, index = (argument["item"], argument["index"]) if "index" in argument else (None, None)
        path = f"{session.path}{node.id}" if index is None else f"{session.path}{node.id}[{index}]"
        ask = partial(session.questions.ask, path)
        update = await action(Place(session.context, session.inputs, session.values, path, ask, item, index))
        return {_FIELD + name: value for name, value in update.items()}

    return run


def _prepare(graph: GraphDefinition) -> RunInner:
    program = compile_graph(graph)

    async def run_inner(inputs: JsonObject, context: StepContext, path: str) -> JsonObject:
        session = program.session(context, {"inputs": inputs}, f"{path}/")
        # Called inside a node, a graph takes over the node's config; this one is on its own.
        alone = copy_context()
        alone.run(var_child_runnable_config.set, None)
        start = first_input(first_values(graph, inputs))
        progress = await asyncio.create_task(advance(program, session, start, one_step=False), context=alone)
        if progress.interrupts:
            raise interruption(list(progress.interrupts))
        return dict(session.values)

    return run_inner


def _router(edges: list[Edge]) -> _Router:
    async def follow(channels: dict[str, Any], config: RunnableConfig) -> list[str | Send]:
        session: Session = config["configurable"][SESSION]
        values = {channel[1:]: value for channel, value in channels.items()}
        # In a thread: a condition over much data takes a moment.
        branches = await asyncio.to_thread(route, edges, {**values, "inputs": session.inputs, "state": values})
        return [_destination(branch) for branch in branches]

    return follow


def _destination(branch: Branch) -> str | Send:
    if branch.index is None:
        return _target(branch.node)
    return Send(branch.node, {"item": branch.item, "index": branch.index})
