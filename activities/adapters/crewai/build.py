"""Builds CrewAI's objects for one task of a crew: the whole crew with the tasks before it done.

CrewAI then runs that task by its own rules of contexts, tools, guardrails and delegation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.agent.planning_config import PlanningConfig
from crewai.tasks.task_output import TaskOutput
from crewai.tools.agent_tools.agent_tools import AgentTools
from crewai.utilities.i18n import get_i18n
from pydantic import PrivateAttr

from activities.adapters.base import StepContext
from activities.adapters.crewai.line import Line
from activities.adapters.crewai.llm import GatewayLLM, LineTransport, make_llm
from activities.adapters.crewai.reading import CrewSpec, NamedTask
from activities.adapters.crewai.schema import AgentSpec, LLMSpec
from activities.adapters.crewai.states import SavedOutput
from activities.adapters.crewai.tools import RegisteredTool, make_tool


class _NoReplay:
    """In place of CrewAI's replay database: one SQLite file per machine that every kickoff empties."""

    def reset(self) -> None: ...

    def update(self, _task_index: int, _log: dict[str, Any]) -> None: ...


class StepCrew(Crew):
    """A crew without files."""

    _task_output_handler: Any = PrivateAttr(default_factory=_NoReplay)


class CrewBuilder:
    """Builds one crew; a crew that runs beside it needs a builder of its own."""

    def __init__(self, spec: CrewSpec, context: StepContext, line: Line, transport: LineTransport) -> None:
        self._spec, self._context, self._line, self._transport = spec, context, line, transport
        self._llms: dict[str, GatewayLLM] = {}

    def build(self, done: Sequence[SavedOutput], task_index: int) -> StepCrew:
        """The crew whose only open task is `task_index`. `done` are the outputs of the first tasks."""
        agents = {name: self._agent(agent) for name, agent in self._spec.agents.items()}
        indices = [*range(len(done)), task_index]
        tasks: dict[int, Task] = {}
        for index in indices:
            tasks[index] = self._task(self._spec.tasks[index], agents, self._named(tasks))
        manager = self._manager(agents)
        crew = StepCrew(
            name=self._spec.fields.name or "crew",
            agents=[agent for agent in agents.values() if agent is not manager],
            tasks=list(tasks.values()),
            process=Process(self._spec.fields.process),
            manager_agent=manager,
            verbose=False,
            memory=False,
            cache=False,
            tracing=False,
        )
        for index, task in tasks.items():
            # After CrewAI's check that no crew ends with two of them. It decides which outputs a task sees by itself.
            task.async_execution = bool(self._spec.tasks[index].spec.async_execution)
        for output, task in zip(done, tasks.values(), strict=False):
            task.output = _restored(output, task)
        # CrewAI's own way to go on with a crew: the first task without an output is the one to run.
        crew.checkpoint_kickoff_event_id = self._context.execution_id
        return crew

    def build_agent(self, name: str) -> Agent:
        """An agent for work outside of a crew."""
        return self._agent(self._spec.agents[name])

    def _named(self, tasks: dict[int, Task]) -> dict[str, Task]:
        return {name: task for index, task in tasks.items() if (name := self._spec.tasks[index].name) is not None}

    def _llm(self, named: str | LLMSpec | None) -> GatewayLLM:
        if named is None or named == "":
            named = self._context.model.default_model
        spec = LLMSpec(model=named) if isinstance(named, str) else named
        key = spec.model_dump_json()
        if key not in self._llms:
            self._llms[key] = make_llm(spec, self._context.model, self._line, self._transport)
        return self._llms[key]

    def _tools(self, names: Sequence[str] | None) -> list[RegisteredTool]:
        return [make_tool(spec, self._context.tools, self._line) for spec in self._context.tools.specs(names or ())]

    def _agent(self, spec: AgentSpec) -> Agent:
        fields = spec.model_dump(exclude_none=True, exclude={"llm", "tools", "planning_config", "type"})
        if spec.planning_config is not None:
            fields["planning_config"] = PlanningConfig(**spec.planning_config.model_dump(exclude_none=True))
        return Agent(
            **fields,
            llm=self._llm(spec.llm),
            tools=self._tools(spec.tools),
            max_retry_limit=0,
            # It would put the name of a temporary file into the prompt.
            use_better_compaction=False,
        )

    def _manager(self, agents: dict[str, Agent]) -> Agent | None:
        """The manager of a hierarchical crew: the one it names, or the one CrewAI would make from its prompts."""
        fields = self._spec.fields
        if fields.process != "hierarchical":
            return None
        if fields.manager_agent is not None:
            return agents[fields.manager_agent]
        prompts = get_i18n()
        return Agent(
            role=prompts.retrieve("hierarchical_manager_agent", "role"),
            goal=prompts.retrieve("hierarchical_manager_agent", "goal"),
            backstory=prompts.retrieve("hierarchical_manager_agent", "backstory"),
            tools=AgentTools(agents=list(agents.values())).tools(),
            allow_delegation=True,
            llm=self._llm(fields.manager_llm),
            max_retry_limit=0,
            use_better_compaction=False,
        )

    def _task(self, task: NamedTask, agents: dict[str, Agent], earlier: dict[str, Task]) -> Task:
        kept_apart = {"name", "agent", "context", "tools", "async_execution", "max_retries", "type"}
        fields = task.spec.model_dump(exclude_none=True, exclude=kept_apart)
        if task.spec.max_retries is not None:
            fields.setdefault("guardrail_max_retries", task.spec.max_retries)
        if "context" in task.spec.model_fields_set:
            fields["context"] = [earlier[name] for name in task.spec.context or ()]
        return Task(
            **fields,
            name=task.name,
            agent=agents[task.spec.agent] if task.spec.agent else None,
            tools=self._tools(task.spec.tools),
        )


def _restored(output: SavedOutput, task: Task) -> TaskOutput:
    return TaskOutput(
        name=output["name"],
        description=task.description,
        expected_output=task.expected_output,
        raw=output["raw"],
        json_dict=output["json"],
        agent=output["agent"],
    )
