"""The half of the CrewAI adapter that runs crews, one step at a time, and flows, in one. CrewAI is imported by `create`, after its environment is set."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from activities.adapters.base import Adapter, BadDefinition, Interrupt, JsonObject, StepContext, StepResult, ToolBox
from activities.adapters.crewai.checks import concurrent_run
from activities.adapters.crewai.crews import CREW, step_name, step_units
from activities.adapters.crewai.environment import home_in, prepare_environment
from activities.adapters.crewai.flows.adapter import FlowAdapter, FlowRuntime
from activities.adapters.crewai.flows.definition import is_flow
from activities.adapters.crewai.reading import CrewSpec, read_crew
from activities.adapters.crewai.states import SavedOutput, make_state, read_state, result_of
from omium_core.errors import Problem
from omium_core.settings import Settings


class _Runtime(Protocol):
    """What `crew_run`, the module that imports CrewAI, offers."""

    async def try_to_build(self, crew: CrewSpec, tools: ToolBox) -> str | None: ...

    async def run_tasks(
        self, crew: CrewSpec, inputs: JsonObject, done: list[SavedOutput], tasks: range, context: StepContext
    ) -> list[SavedOutput | Interrupt]: ...


class CrewAdapter:
    """Implements `Adapter` for crews. Keeps nothing of a run."""

    name = CREW.name

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """Whether all tools are registered, and whether CrewAI can build the crew."""
        problems = CREW.validate(definition, tools=None)
        crew = read_crew(definition).crew
        for path, names in _named_tools(crew):
            for index, name in enumerate(names):
                try:
                    tools.specs([name])
                except Exception as error:
                    problems.append(Problem(f"{path}.tools[{index}]", str(error)))
        if not problems and (refusal := await self._runtime.try_to_build(crew, tools)) is not None:
            problems.append(Problem("", f"CrewAI cannot build this crew: {refusal}"))
        return problems

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return make_state({**read_crew(definition).crew.default_inputs, **inputs}, [])

    async def first_step(self, definition: JsonObject) -> str:
        return step_name(_readable(definition), 0)

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """Runs the first task that has no output, or the asynchronous tasks that begin there."""
        crew = _readable(definition)
        inputs, done = read_state(state)
        for problem in CREW.validate_inputs(definition, inputs):
            raise BadDefinition(problem.message)
        if len(done) >= len(crew.tasks):
            raise BadDefinition(
                f"All {len(crew.tasks)} tasks of this crew have an output; there is no step left to do."
            )
        tasks = concurrent_run(crew, len(done))
        context.progress(step_name(crew, len(done)))
        results = await self._runtime.run_tasks(crew, inputs, done, tasks, context)
        if questions := tuple(result for result in results if isinstance(result, Interrupt)):
            return StepResult(state, None, interrupts=questions)
        produced = [result for result in results if not isinstance(result, Interrupt)]
        outputs = [*done, *produced]
        is_last = len(outputs) == len(crew.tasks)
        unit = [{"name": output["name"], "agent": output["agent"], "output": output["raw"]} for output in produced]
        return StepResult(
            state=make_state(inputs, outputs),
            next_step=None if is_last else step_name(crew, len(outputs)),
            outputs=result_of(outputs) if is_last else None,
            unit=unit[0] if len(unit) == 1 else unit,
            units=step_units(crew, len(done)),
        )


class CrewAIAdapter:
    """Implements `Adapter`: each definition is a crew's or a flow's."""

    name = CREW.name

    def __init__(self, crews: CrewAdapter, flows: FlowAdapter) -> None:
        self._crews, self._flows = crews, flows

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """Whether all tools are registered, and whether CrewAI can build the definition."""
        return await self._of(definition).check(definition, tools=tools)

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return self._of(definition).start(definition, inputs)

    async def first_step(self, definition: JsonObject) -> str:
        return await self._of(definition).first_step(definition)

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """Runs the next task of a crew, or a whole flow."""
        return await self._of(definition).run_step(definition, state, context)

    def _of(self, definition: JsonObject) -> Adapter:
        return self._flows if is_flow(definition) else self._crews


def create(settings: Settings, scratch: Path) -> CrewAIAdapter:
    """Imports CrewAI into this process, which takes some seconds, and returns its adapter."""
    prepare_environment(scratch)
    with home_in(scratch):
        crews = importlib.import_module("activities.adapters.crewai.crew_run")
        flows = importlib.import_module("activities.adapters.crewai.flows.runtime")
    return CrewAIAdapter(CrewAdapter(cast("_Runtime", crews)), FlowAdapter(cast("FlowRuntime", flows)))


def _readable(definition: JsonObject) -> CrewSpec:
    for problem in CREW.validate(definition, tools=None):
        raise BadDefinition(f"{problem.path}: {problem.message}")
    return read_crew(definition).crew


def _named_tools(crew: CrewSpec) -> list[tuple[str, list[str]]]:
    agents = [(crew.agent_paths[name], agent.tools or []) for name, agent in crew.agents.items()]
    return agents + [(task.path, task.spec.tools or []) for task in crew.tasks]
