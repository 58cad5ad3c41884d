"""Runs the nodes of a flow, one step at a time, by the adapters of their agents' frameworks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from activities.adapters.base import Adapter, BadDefinition, JsonObject, StepContext, StepResult, ToolBox
from activities.adapters.flow.agents import half_of, inner_definition, outer_path
from activities.adapters.flow.contracts import own_names
from activities.adapters.flow.definition import DEFINITION
from activities.adapters.flow.planning import graph_of
from activities.adapters.flow.reading import FlowSpec, FlowStep, read_flow
from activities.adapters.flow.results import named_outputs
from activities.adapters.registry import load_adapter
from omium_core.errors import Problem
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: Gives the adapter of a framework by its name. Called in a thread, as it may import for seconds; gives the same one again.
Load = Callable[[str], Adapter]


class FlowAdapter:
    """Implements `Adapter` for flows. States are the wrappers of `FlowDefinition`; keeps nothing of a run.

    A process that has loaded adapters already sets `load`, so that they are shared.
    """

    name = DEFINITION.name

    def __init__(self, load: Load) -> None:
        self.load = load

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """What the frameworks say of their agents when they load them. One that is not installed here is left out."""
        problems = DEFINITION.validate(definition, tools=None)
        if problems:
            return problems
        flow = read_flow(definition).flow
        for step in flow.steps.values():
            agent = flow.agents[step.part.agent]
            try:
                adapter = await self._adapter(agent.framework)
            except ModuleNotFoundError as error:
                log.warning("an agent is not checked by loading it", framework=agent.framework, missing=error.name)
                continue
            found = await adapter.check(inner_definition(agent, step), tools=tools)
            problems += [Problem(outer_path(agent, step, p.path), p.message) for p in found]
        return list(dict.fromkeys(problems))

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        """The wrapper of the flow's first node before its first step. Loads a framework, which may take seconds."""
        node = graph_of(_readable(definition)).order[0]
        wrapper = DEFINITION.begin(definition, node, inputs, {})
        if wrapper is None:
            raise BadDefinition(f"The condition of step {node!r}, the first one, does not hold.")
        framework, inner = DEFINITION.agent_of(definition, node)
        return {**wrapper, "state": self.load(framework).start(inner, wrapper["inputs"])}

    async def first_step(self, definition: JsonObject) -> str:
        """Name of the first step of the flow's first node."""
        framework, inner = DEFINITION.agent_of(definition, graph_of(_readable(definition)).order[0])
        return await (await self._adapter(framework)).first_step(inner)

    async def prepare(self, definition: JsonObject, wrapper: JsonObject) -> JsonObject:
        """A node's wrapper with the state of its framework, which is made if it is not there yet."""
        if wrapper["state"] is not None:
            return wrapper
        framework, inner = DEFINITION.agent_of(definition, wrapper["node"])
        return {**wrapper, "state": (await self._adapter(framework)).start(inner, wrapper["inputs"])}

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """One step of the node's agent; after its last one the wrapper holds the named outputs.

        Raises what the framework's adapter raises, `BadDefinition` for a state that is no wrapper of an unfinished node, and
        `MissingOutput` where the agent did not give what the step promises.
        """
        flow = _readable(definition)
        step = _unfinished(flow, state)
        wrapper = await self.prepare(definition, state)
        framework, inner = DEFINITION.agent_of(definition, step.id)
        result = await (await self._adapter(framework)).run_step(inner, wrapper["state"], context)
        if result.interrupts:
            return replace(result, state=wrapper)
        after = {**wrapper, "state": result.state}
        units = tuple(dict.fromkeys((*own_names(flow, step), *result.units)))
        if result.next_step is not None:
            return replace(result, state=after, units=units)
        values = half_of(flow.agents[step.part.agent]).values(result.state)
        outputs = named_outputs(step, result.outputs, values)
        after |= {"outputs": outputs, "result": result.outputs}
        return replace(result, state=after, outputs=outputs, units=units)

    async def _adapter(self, framework: str) -> Adapter:
        return await asyncio.to_thread(self.load, framework)


def create(settings: Settings, scratch: Path, load: Load | None = None) -> FlowAdapter:
    """The adapter of a worker process, which loads the adapters of other frameworks when a step needs them."""
    return FlowAdapter(load or _Loaded(settings, scratch))


class _Loaded:
    """Adapters that were loaded, each once; safe to use from any thread."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._adapters: dict[str, Adapter] = {}
        self._lock = threading.Lock()

    def __call__(self, framework: str) -> Adapter:
        with self._lock:
            if framework not in self._adapters:
                self._adapters[framework] = load_adapter(framework, self._settings, self._scratch)
            return self._adapters[framework]


def _readable(definition: JsonObject) -> FlowSpec:
    for problem in DEFINITION.validate(definition, tools=None):
        raise BadDefinition(f"{problem.path}: {problem.message}")
    return read_flow(definition).flow


def _unfinished(flow: FlowSpec, wrapper: JsonObject) -> FlowStep:
    """The step that a wrapper belongs to. People may have edited the state and the definition."""
    node = wrapper.get("node")
    if node not in flow.steps or not isinstance(wrapper.get("inputs"), dict) or "state" not in wrapper:
        raise BadDefinition("The state is none of a step of this flow.")
    if wrapper.get("outputs") is not None:
        raise BadDefinition(f"Step {node!r} has its outputs; there is nothing left to do.")
    return flow.steps[node]
