"""Runs tasks of a crew with CrewAI. The only way into CrewAI for the adapter: importing this module imports the framework."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from crewai import Task
from crewai.core.providers.human_input import set_provider

from activities.adapters.base import (
    BadDefinition,
    Interrupt,
    JsonObject,
    ModelEndpoint,
    StepContext,
    StepError,
    ToolBox,
)
from activities.adapters.crewai.build import CrewBuilder, StepCrew
from activities.adapters.crewai.line import Line
from activities.adapters.crewai.llm import LineTransport
from activities.adapters.crewai.people import Asked, Reviewer
from activities.adapters.crewai.reading import CrewSpec, agent_label, task_label
from activities.adapters.crewai.states import SavedOutput

_NOTHING: Final[SavedOutput] = {"name": "", "agent": "", "raw": "", "json": None}


class GuardrailRejected(StepError):
    """A task's output did not pass its guardrail, however often it was asked again: the journal would tell the same story."""

    failure_type = "validation_error"
    retryable = False


async def run_tasks(
    crew: CrewSpec, inputs: JsonObject, done: list[SavedOutput], tasks: range, context: StepContext
) -> list[SavedOutput | Interrupt]:
    """What came of `tasks`, run at the same time after the `done` ones, in their order: outputs, or questions to people.

    The first failure ends all.
    """
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(_run_alone(crew, inputs, done, index, context)) for index in tasks]
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        # its cause stays: it tells whether the endpoint refused the call
        raise first from first.__cause__
    return [task.result() for task in running]


async def _run_alone(
    crew: CrewSpec, inputs: JsonObject, done: list[SavedOutput], index: int, context: StepContext
) -> SavedOutput | Interrupt:
    """One task in a crew of its own: agents of CrewAI do one thing at a time."""
    line = Line()
    transport = LineTransport(line)
    try:
        return await line.run(lambda: run_task(crew, inputs, done, index, context, line, transport))
    except Asked as asked:
        return asked.interrupt
    finally:
        line.cut()
        await transport.aclose()


async def run_task(
    crew: CrewSpec,
    inputs: JsonObject,
    done: list[SavedOutput],
    index: int,
    context: StepContext,
    line: Line,
    transport: LineTransport,
) -> SavedOutput:
    """The output of one task after the `done` ones; runs on the loop of the line's own thread."""
    label = task_label(crew.tasks[index], index)
    set_provider(Reviewer(label, agent_label(crew, crew.tasks[index]), context, line))
    ready = _build(CrewBuilder(crew, context, line, transport), done, index)
    task = ready.tasks[-1]
    try:
        await ready.akickoff(inputs=inputs)
    except Exception as error:
        if _guardrail_rejected(task, error):
            raise GuardrailRejected(str(error)) from error
        raise
    return _saved(task.output, label)


def _build(builder: CrewBuilder, done: list[SavedOutput], index: int) -> StepCrew:
    try:
        return builder.build(done, index)
    except Exception as error:
        raise BadDefinition(f"CrewAI cannot build this crew: {error}") from error


def _guardrail_rejected(task: Task, error: Exception) -> bool:
    """CrewAI has no class of its own for this error."""
    return type(error) is Exception and bool(task.guardrail or task.guardrails) and "guardrail" in str(error)


def _saved(output: Any, name: str) -> SavedOutput:
    structured = output.json_dict
    if structured is None and output.pydantic is not None:
        structured = output.pydantic.model_dump(mode="json")
    return {"name": name, "agent": output.agent, "raw": output.raw, "json": structured}


async def try_to_build(crew: CrewSpec, tools: ToolBox) -> str | None:
    """What CrewAI has against a crew; None if it builds. No call is made."""
    line = Line()
    transport = LineTransport(line)
    context = StepContext("check", 0, 1, ModelEndpoint("http://127.0.0.1/v1", "none", "model"), tools)

    async def work() -> None:
        for index in range(len(crew.tasks)):
            _build(CrewBuilder(crew, context, line, transport), [_NOTHING] * index, index)

    try:
        await line.run(work)
    except BadDefinition as error:
        return str(error)
    finally:
        await transport.aclose()
    return None
