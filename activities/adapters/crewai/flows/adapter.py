"""The half of the adapter that runs flows, in their only step. CrewAI comes with the runtime that it is given."""

from __future__ import annotations

from typing import Protocol

from activities.adapters.base import BadDefinition, JsonObject, StepContext, StepResult, ToolBox
from activities.adapters.crewai.flows.definition import FLOW, named_tools, step_name
from activities.adapters.crewai.flows.reading import read_flow
from activities.adapters.crewai.flows.spec import FlowSpec
from activities.adapters.crewai.flows.states import make_state, read_state
from omium_core.errors import Problem


class FlowRuntime(Protocol):
    """What `runtime`, the module that imports CrewAI, offers."""

    async def try_to_build(self, flow: FlowSpec, tools: ToolBox) -> list[Problem]: ...

    async def run_flow(self, flow: FlowSpec, inputs: JsonObject, context: StepContext) -> JsonObject: ...


class FlowAdapter:
    """Implements `Adapter` for flows. Keeps nothing of a run."""

    name = FLOW.name

    def __init__(self, runtime: FlowRuntime) -> None:
        self._runtime = runtime

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """Whether all tools are registered, and whether CrewAI can build the flow and its crews."""
        if problems := FLOW.validate(definition, tools=None):
            return problems
        flow = read_flow(definition).flow
        for path, name in named_tools(flow):
            try:
                tools.specs([name])
            except Exception as error:
                problems.append(Problem(path, str(error)))
        return problems or await self._runtime.try_to_build(flow, tools)

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return make_state(dict(inputs), None)

    async def first_step(self, definition: JsonObject) -> str:
        return step_name(_readable(definition))

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """Runs the whole flow."""
        flow = _readable(definition)
        inputs, result = read_state(state)
        for problem in FLOW.validate_inputs(definition, inputs):
            raise BadDefinition(f"{problem.path}: {problem.message}")
        if result is not None:
            raise BadDefinition("This flow has run; there is no step left to do.")
        context.progress(step_name(flow))
        result = await self._runtime.run_flow(flow, inputs, context)
        return StepResult(
            state=make_state(inputs, result),
            next_step=None,
            outputs=result,
            unit={"name": flow.name, "output": result["output"]},
            units=(flow.name,),
        )


def _readable(definition: JsonObject) -> FlowSpec:
    for problem in FLOW.validate(definition, tools=None):
        raise BadDefinition(f"{problem.path}: {problem.message}")
    return read_flow(definition).flow
