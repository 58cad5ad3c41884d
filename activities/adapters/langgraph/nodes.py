"""What the nodes of a graph in JSON do: fill a template, call a tool, ask a model or a person, run a graph inside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from activities import templates
from activities.adapters.base import Answer, BadDefinition, Json, JsonObject, StepContext, StepError
from activities.adapters.langgraph.models import ask
from activities.adapters.langgraph.spec import (
    AnyNode,
    ApprovalNode,
    GraphDefinition,
    LlmNode,
    SubgraphNode,
    TemplateNode,
    ToolNode,
)
from activities.adapters.langgraph.values import WrongValue, written


class Rejected(StepError):
    """A person rejected what was to be approved, and nothing in the graph says what follows then."""

    failure_type = "validation_error"
    retryable = False
    redoable = False


@dataclass(frozen=True)
class Place:
    """What a node sees. `values` are the state fields as the step began; `index` is None outside of `each`.

    `path` is the node's name within the run: `debate/say[2]`. `ask` gives a person's answer to a question, or ends the
    attempt with the question; it takes the question and its title.
    """

    context: StepContext
    inputs: JsonObject
    values: Mapping[str, Any]
    path: str
    ask: Callable[[Json, str], Answer]
    item: Any = None
    index: int | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """Names of templates."""
        names = {**self.values, "inputs": self.inputs, "state": self.values}
        return names if self.index is None else {**names, "item": self.item, "index": self.index}


#: What a node does: gives the state fields that it writes.
Action = Callable[[Place], Awaitable[JsonObject]]

#: Runs a graph to its end: inputs, context, path of the node that it is in -> its state fields.
RunInner = Callable[[JsonObject, StepContext, str], Awaitable[JsonObject]]


def action_of(graph: GraphDefinition, node: AnyNode, prepare: Callable[[GraphDefinition], RunInner]) -> Action:
    """The action of a node, with the values brought to the types of the fields that they are written to.

    `prepare` makes a graph inside a node ready to run.
    """
    match node:
        case LlmNode():
            perform = _llm(node)
        case ToolNode():
            perform = _tool(node)
        case TemplateNode():
            perform = _template(node)
        case SubgraphNode():
            perform = _subgraph(graph, node, prepare(node.definition))
        case ApprovalNode():
            perform = _approval(graph, node)

    async def action(place: Place) -> JsonObject:
        update = await perform(place)
        return {name: _fitting(graph, node, name, value) for name, value in update.items()}

    return action


def _fitting(graph: GraphDefinition, node: AnyNode, name: str, value: Any) -> Any:
    try:
        return written(graph.state[name], value)
    except WrongValue as error:
        raise BadDefinition(f"What the node {node.id!r} writes into {name!r} {error}.") from error


def _fill(node: AnyNode, value: Any, place: Place) -> Any:
    """A value with its templates filled; types are kept where a text is a single value."""
    try:
        return templates.render_value(value, place.variables)
    except templates.TemplateError as error:
        raise BadDefinition(f"A template of the node {node.id!r} cannot be filled: {error}") from error


def _template(node: TemplateNode) -> Action:
    wanted = node.set if node.output is None else {node.output: node.template}

    async def perform(place: Place) -> JsonObject:
        return {name: _fill(node, template, place) for name, template in wanted.items()}

    return perform


def _tool(node: ToolNode) -> Action:
    async def perform(place: Place) -> JsonObject:
        place.context.progress(f"{node.id}: {node.tool}")
        result = await place.context.tools.call(node.tool, _fill(node, node.args, place))
        return {} if node.output is None else {node.output: result}

    return perform


def _llm(node: LlmNode) -> Action:
    async def perform(place: Place) -> JsonObject:
        place.context.progress(f"{node.id}: asking the model")
        prompt = _text(node, node.prompt, place)
        system = None if node.system is None else _text(node, node.system, place)
        history = place.values[node.messages] if node.messages is not None else []
        answer = await ask(node, place.context, prompt=prompt, system=system, history=history)
        if node.output == node.messages:
            return {node.output: [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
        return {node.output: answer}

    return perform


def _text(node: LlmNode, template: str, place: Place) -> str:
    try:
        return templates.render(template, place.variables)
    except templates.TemplateError as error:
        raise BadDefinition(f"A template of the node {node.id!r} cannot be filled: {error}") from error


def _subgraph(graph: GraphDefinition, node: SubgraphNode, run_inner: RunInner) -> Action:
    outputs = node.outputs or {name: name for name in node.definition.state if name in graph.state}

    async def perform(place: Place) -> JsonObject:
        inputs = {**place.inputs, **place.values} if node.inputs is None else _fill(node, node.inputs, place)
        values = await run_inner(inputs, place.context, place.path)
        return {name: values[source] for name, source in outputs.items()}

    return perform


def _approval(graph: GraphDefinition, node: ApprovalNode) -> Action:
    async def perform(place: Place) -> JsonObject:
        answer = place.ask(_fill(node, node.question, place), node.description or node.id)
        approved = answer.decision != "reject"
        if node.output is None:
            if not approved:
                raise Rejected(f"The node {node.id!r} was rejected by a person.")
            return {}
        if graph.state[node.output].kind == "boolean":
            return {node.output: approved}
        return {node.output: {"approved": approved, "decision": answer.decision, "value": answer.value}}

    return perform
