"""The pure half of flows: judges and plans them, and says with what a step begins and what a run gives.

A definition is `{"agents": [...], "flow": [...], "policies": {...}}`; `spec.py` describes the fields, `docs/flows.md` tells how to
write them. A step of a flow is a *node* of the run: a branch of durable steps, which are those of its agent's framework. What
is kept of a node is a wrapper::

    {"node": id, "framework": name, "inputs": {...}, "state": {...} | None, "outputs": {...} | None, "result": ..., "skipped": bool}

`inputs` are what the agent is given, `state` is that of its framework (None before the first step), `outputs` are the named
outputs and `result` the agent's whole outputs, both None until the node is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from activities.adapters.base import BadDefinition, Edit, Json, JsonObject, Plan
from activities.adapters.flow import starting
from activities.adapters.flow.agents import INNER_FRAMEWORKS, half_of, inner_definition
from activities.adapters.flow.checks import check_flow, missing_inputs
from activities.adapters.flow.contracts import (
    NodeContracts,
    agent_policies,
    contract_problems,
    node_contracts,
    own_names,
)
from activities.adapters.flow.editing import edited, problems_of
from activities.adapters.flow.planning import Graph, graph_of
from activities.adapters.flow.reading import Agent, FlowSpec, FlowStep, read_flow
from activities.adapters.flow.spec import FlowPart
from activities.adapters.flow.starting import Ends
from activities.adapters.registry import definition_for
from models.wire import FlowNode
from omium_core.errors import InvalidInput, Problem

#: Name of a node's first step where only running tells.
_UNKNOWN_STEP: Final = "start"


class FlowDefinition:
    """Implements `FrameworkDefinition` for flows; states are wrappers of nodes."""

    name = "flow"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems, with paths such as `flow[1].depends_on[0]` or `agents[0].config.tasks.write.agent`."""
        reading = read_flow(definition)
        told = {problem.path for problem in reading.problems}
        problems = reading.problems + [p for p in check_flow(reading.flow, tools) if p.path not in told]
        return problems or contract_problems(reading.flow, definition)

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Names that steps use and nobody gives, and what the agents say of the inputs that they are given as they are."""
        flow = _flow(definition)
        graph = graph_of(flow)
        missing = missing_inputs(flow, graph, frozenset(inputs))
        problems = [Problem(name, f"This input is missing: {where} uses it.") for name, where in missing.items()]
        for step in flow.steps.values():
            problems += _refused_inputs(flow, graph, step, inputs)
        first: dict[str, Problem] = {}
        for problem in problems:
            first.setdefault(problem.path, problem)
        return sorted(first.values(), key=lambda problem: problem.path)

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """The steps of all agents, node after node; open-ended where an agent or a condition is."""
        flow = _flow(definition)
        graph = graph_of(flow)
        plans = {name: _plan_of(flow, flow.steps[name], inputs) for name in graph.order}
        steps = tuple(step for name in graph.order for step in plans[name].steps)
        has_conditions = any(step.part.when is not None for step in flow.steps.values())
        open_ended = has_conditions or any(plan.open_ended for plan in plans.values())
        warnings = [f"{flow.steps[name].path}: {text}" for name, plan in plans.items() for text in plan.warnings]
        used = {step.part.agent for step in flow.steps.values()}
        unused = (agent for agent in flow.agents.values() if agent.id not in used)
        warnings += [f"{agent.path}: No step uses the agent {agent.id!r}." for agent in unused]
        return Plan(
            steps=steps[:1] if open_ended else steps,
            open_ended=open_ended,
            agents=tuple(agent.name for agent in flow.agents.values()),
            warnings=tuple(warnings),
        )

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Whether the definition of any agent does. Asked before the flow is judged, of whatever can be read of it."""
        flow = read_flow(definition).flow
        return any(
            half_of(agent).needs_worker(inner_definition(agent, step), tools=tools)
            for step in flow.steps.values()
            if (agent := flow.agents.get(step.part.agent)) is not None and agent.framework in INNER_FRAMEWORKS
        )

    def json_schema(self) -> JsonObject:
        """The JSON Schema of flows; what an agent's `config` holds is published for its framework."""
        schema: dict[str, Any] = FlowPart.model_json_schema()
        agents = schema["properties"]["agents"]
        keyed = {**schema["$defs"]["AgentPart"], "required": ["framework", "config"]}
        schema["$defs"]["AgentById"] = keyed
        by_id = {"type": "object", "additionalProperties": {"$ref": "#/$defs/AgentById"}, "minProperties": 1}
        schema["properties"]["agents"] = {"description": agents.pop("description"), "anyOf": [agents, by_id]}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Flow"}

    # Nodes

    def nodes(self, definition: JsonObject) -> list[FlowNode]:
        """The nodes of a run, in an order in which they can run."""
        flow = _flow(definition)
        graph = graph_of(flow)
        return [
            FlowNode(
                id=name,
                framework=_agent(flow, name).framework,
                name=f"{name} · {flow.steps[name].name}",
                first_step=_plan_of(flow, flow.steps[name], {}).steps[0],
                depends_on=list(graph.waits_for[name]),
            )
            for name in graph.order
        ]

    def agent_of(self, definition: JsonObject, node: str) -> tuple[str, JsonObject]:
        """The framework of a node, and the definition that it is to run."""
        flow = _flow(definition)
        agent = _agent(flow, node)
        return agent.framework, inner_definition(agent, flow.steps[node])

    def begin(self, definition: JsonObject, node: str, inputs: JsonObject, ends: Ends) -> JsonObject | None:
        """The wrapper with which a node begins, or None when it is skipped.

        `inputs` are the run's, `ends` the wrappers of all nodes before it that ran. Raises `BadDefinition` for a condition,
        a task or an input that cannot be made. May take a moment: a condition over large data has a process of its own.
        """
        flow = _flow(definition)
        agent, graph, step = _agent(flow, node), graph_of(flow), flow.steps[node]
        known = starting.known_values(flow, graph, step, inputs, ends)
        if not starting.starts(graph, step, known, ends):
            return None
        given = starting.inputs_of(agent, step, known, starting.unmade_names(flow, graph, step, inputs, ends))
        return _wrapper(step, agent.framework, inputs=given)

    def skipped(self, definition: JsonObject, node: str) -> JsonObject:
        """The wrapper of a node that was skipped."""
        flow = _flow(definition)
        return _wrapper(flow.steps[node], _agent(flow, node).framework, skipped=True)

    def outputs(self, definition: JsonObject, ends: Ends) -> Json:
        """A run's outputs: all named outputs, and under `steps` the whole outputs of each agent (null for skipped ones).

        Where several steps that ran have an output of one name, the last one's counts.
        """
        flow = _flow(definition)
        found: JsonObject = {}
        results: JsonObject = {}
        for name in graph_of(flow).order:
            wrapper = starting.ran(ends, name)
            results[name] = None if wrapper is None else wrapper["result"]
            found |= (wrapper or {}).get("outputs") or {}
        return {**found, "steps": results}

    def contracts_for(self, definition: JsonObject, node: str, ran: Collection[str] | None = None) -> NodeContracts:
        """What is promised of a node; `ran` are the nodes that ran, None for all: only these hand over."""
        flow = _flow(definition)
        return node_contracts(flow, definition, _step(flow, node), graph_of(flow).waits_for[node], ran)

    def agent_policies(self, definition: JsonObject) -> dict[str, JsonObject]:
        """The `recovery_policies` of agents, by the agents' ids."""
        return agent_policies(_flow(definition))

    # States

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """An edit as it concerns one node; see `editing.py` for the names. What concerns only others leaves the state as it is.

        Raises `InvalidInput` for prompts, models and inputs that nobody has; for values, see `edit_problems`.
        """
        after = edited(definition, state, edit)
        if after.problems:
            raise InvalidInput("The edit does not fit the flow.", after.problems)
        if problems := self.validate(after.definition, tools=None):
            raise InvalidInput("The edited flow cannot run.", [Problem("prompts", p.message) for p in problems])
        return after.definition, after.wrapper

    def edit_problems(self, definition: JsonObject, edit: Edit, states: Iterable[JsonObject] = ()) -> list[Problem]:
        """What is wrong with an edit for a run with these states, those of its nodes: all paths from the edit's root.

        Without states the values are not judged: only a state tells which there are.
        """
        return problems_of(definition, edit, states)

    def view(self, state: JsonObject) -> JsonObject:
        """What the node was given and what it made, with the framework's own view of its state."""
        inner = state["state"]
        return {**state, "state": None if inner is None else definition_for(state["framework"]).view(inner)}

    def values(self, state: JsonObject) -> JsonObject:
        """The node's inputs, the values of the framework's state, and the named outputs when it is done."""
        inner = state["state"]
        values = {} if inner is None else definition_for(state["framework"]).values(inner)
        return {**state["inputs"], **values, **(state["outputs"] or {})}

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The node, its agent, and what runs next inside, where that is known; empty when the node is done."""
        if state["outputs"] is not None:
            return ()
        flow = _flow(definition)
        step = _step(flow, state["node"])
        agent = _agent(flow, step.id)
        inner = None if state["state"] is None else half_of(agent).units(inner_definition(agent, step), state["state"])
        return tuple(dict.fromkeys((*own_names(flow, step), *(inner or ()))))

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """Ids and names of nodes and agents, and all that their frameworks know."""
        flow = read_flow(definition).flow
        names: set[str] = set()
        for agent, step in _pairs(flow):
            names.update(own_names(flow, step))
            names |= half_of(agent).unit_names(inner_definition(agent, step))
        return frozenset(names)


def _flow(definition: JsonObject) -> FlowSpec:
    reading = read_flow(definition)
    for problem in reading.problems:
        raise BadDefinition(f"{problem.path}: {problem.message}")
    return reading.flow


def _step(flow: FlowSpec, node: str) -> FlowStep:
    if node not in flow.steps:
        raise BadDefinition(f"The flow has no step {node!r}.")
    return flow.steps[node]


def _agent(flow: FlowSpec, node: str) -> Agent:
    return flow.agents[_step(flow, node).part.agent]


def _pairs(flow: FlowSpec) -> Iterator[tuple[Agent, FlowStep]]:
    for step in flow.steps.values():
        yield flow.agents[step.part.agent], step


def _plan_of(flow: FlowSpec, step: FlowStep, inputs: JsonObject) -> Plan:
    agent = _agent(flow, step.id)
    try:
        return half_of(agent).plan(inner_definition(agent, step), inputs)
    except BadDefinition:
        return Plan(steps=(_UNKNOWN_STEP,), open_ended=True)


def _wrapper(step: FlowStep, framework: str, *, inputs: JsonObject | None = None, skipped: bool = False) -> JsonObject:
    return {
        "node": step.id,
        "framework": framework,
        "inputs": inputs or {},
        "state": None,
        "outputs": {} if skipped else None,
        "result": None,
        "skipped": skipped,
    }


def _refused_inputs(flow: FlowSpec, graph: Graph, step: FlowStep, inputs: JsonObject) -> Iterator[Problem]:
    """What the agent of a step says of those of its inputs that are the run's own."""
    agent = _agent(flow, step.id)
    made = starting.made_names(flow, graph, step)
    if step.sources is None:
        own = {name: name for name in inputs if name not in made}
        given = dict(inputs)
    else:
        own = {s.target: s.parts[0] for s in step.sources if len(s.parts) == 1 and s.parts[0] not in made}
        given = {target: inputs[name] for target, name in own.items() if name in inputs}
    for problem in half_of(agent).validate_inputs(inner_definition(agent, step), given):
        name = problem.path
        if name in given and name in own:
            yield Problem(own[name], problem.message)
        elif step.sources is None and name not in made and not (name == "task" and (agent.is_lone or step.task)):
            yield problem


DEFINITION: Final = FlowDefinition()
