"""Runs a whole flow: CrewAI decides which method comes next, `acting` does what the method says. Imports CrewAI.

CrewAI runs methods that are due at the same time beside each other. Here the first one runs with all that follows from it
before the next one starts: a repeated step then makes the same calls in the same order, and finds their answers in the journal.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

from crewai.flow.flow import Flow
from crewai.flow.flow_definition import FlowDefinition as CrewAIFlow

from activities.adapters.base import Json, JsonObject, StepContext, StepError, ToolBox
from activities.adapters.crewai import crew_run
from activities.adapters.crewai.flows.acting import Actor, as_text
from activities.adapters.crewai.flows.schema import SCHEMA
from activities.adapters.crewai.flows.spec import FlowSpec, Method
from activities.adapters.crewai.line import Line, LineCut
from activities.adapters.crewai.llm import LineTransport
from omium_core.errors import Problem

#: Methods that one run of a flow may call, whatever `max_method_calls` says of each.
MOST_CALLS: Final = 1_000

_turn: ContextVar[asyncio.Lock] = ContextVar("turn")


class FlowEndless(StepError):
    """A method ran as often as it may: the flow goes round in circles, and would again with the answers it has."""

    retryable = False


class StepFlow(Flow[Any]):
    """A flow without memory, events and races. Siblings take turns, in the order in which the definition has them."""

    _skip_auto_memory = True

    async def _execute_start_method(self, start_method_name: Any) -> None:
        async with _turn.get():
            await _with_own_turns(lambda: super(StepFlow, self)._execute_start_method(start_method_name))

    async def _execute_single_listener(
        self, listener_name: Any, result: Any, triggering_event_id: str | None = None
    ) -> tuple[Any, str | None]:
        async with _turn.get():
            done: tuple[Any, str | None] = await _with_own_turns(
                lambda: super(StepFlow, self)._execute_single_listener(listener_name, result, triggering_event_id)
            )
            return done

    async def _execute_racing_listeners(
        self, racing_listeners: Any, other_listeners: Any, result: Any, triggering_event_id: str | None = None
    ) -> None:
        """Of methods that race for one listener, only the first in the definition runs: it would win every time."""
        first = next(name for name in self._methods if name in racing_listeners)
        # In tasks, as CrewAI has it: a loop would nest deeper with every round.
        await asyncio.gather(
            *(self._execute_single_listener(name, result, triggering_event_id) for name in (first, *other_listeners))
        )


async def _with_own_turns(work: Callable[[], Awaitable[Any]]) -> Any:
    before = _turn.set(asyncio.Lock())
    try:
        return await work()
    finally:
        _turn.reset(before)


async def run_flow(flow: FlowSpec, inputs: JsonObject, context: StepContext) -> JsonObject:
    """The result of a flow: `{"raw", "output", "outputs", "state"}`, all JSON.

    `output` is what the last method gave, `raw` the same as a text, `outputs` what each method gave last, `state` the state.
    """
    line = Line()
    transport = LineTransport(line)
    run = _Run(flow, inputs, context, line, transport)
    try:
        await line.run(run.work)
    finally:
        line.cut()
        await transport.aclose()
    return run.result()


class _Run:
    def __init__(
        self, flow: FlowSpec, inputs: JsonObject, context: StepContext, line: Line, transport: LineTransport
    ) -> None:
        self._flow, self._context, self._line = flow, context, line
        self._state: JsonObject = {"id": context.execution_id, **flow.defaults, **inputs}
        self._given = self._state if "id" in inputs else {**flow.defaults, **inputs}
        self._actor = Actor(context, line, transport)
        self._outputs: JsonObject = {}
        self._last: Json = None
        self._calls: Counter[str] = Counter()

    async def work(self) -> None:
        _turn.set(asyncio.Lock())
        engine = build(self._flow)
        for method in self._flow.methods.values():
            engine._methods[method.name] = self._callable(method)  # type: ignore[index]
        await engine.kickoff_async()

    def result(self) -> JsonObject:
        return {"raw": as_text(self._last), "output": self._last, "outputs": self._outputs, "state": self._given}

    def _callable(self, method: Method) -> Callable[..., Awaitable[Json]]:
        async def run_method(*_: Any) -> Json:
            try:
                return await self._run(method)
            except Exception as error:
                # CrewAI would log it, and get over it in some places.
                self._line.fail(error)
                raise LineCut from error

        return run_method

    async def _run(self, method: Method) -> Json:
        assert method.action is not None
        self._count(method.name)
        self._context.progress(f"{method.name} ({self._calls[method.name]})")
        scope = {"state": self._state, "outputs": self._outputs}
        self._last = self._outputs[method.name] = await self._actor.run(method.action, scope)
        return self._last

    def _count(self, name: str) -> None:
        most = self._flow.max_method_calls
        if self._calls[name] >= most:
            raise FlowEndless(
                f"The method {name!r} has run {most} times (config.max_method_calls): the flow does not end."
            )
        if self._calls.total() >= MOST_CALLS:
            raise FlowEndless(f"The flow has run {MOST_CALLS} methods: it does not end.")
        self._calls[name] += 1


async def try_to_build(flow: FlowSpec, tools: ToolBox) -> list[Problem]:
    """What CrewAI has against a flow and its crews. No call is made."""
    try:
        await asyncio.to_thread(build, flow)
    except Exception as error:
        return [Problem("methods", f"CrewAI cannot build this flow: {error}")]
    problems = []
    for _, call in flow.crews():
        refusal = await crew_run.try_to_build(call.crew, tools)
        if refusal is not None:
            problems.append(Problem(call.place, refusal))
    return problems


def build(flow: FlowSpec) -> StepFlow:
    """CrewAI's flow, with the triggers of the definition alone: nothing of what its methods do gets there."""
    nothing = {"call": "expression", "expr": "true"}
    methods = {
        name: {
            "do": nothing,
            "start": method.start,
            "listen": method.listen,
            "router": method.router,
            "emit": list(method.emit) or None,
        }
        for name, method in flow.methods.items()
    }
    declared = CrewAIFlow.model_validate({"schema": SCHEMA, "name": flow.name, "methods": methods})
    # The run counts calls itself, with an error of its own.
    options = {"tracing": False, "suppress_flow_events": True, "max_method_calls": 10 * MOST_CALLS}
    built: StepFlow = StepFlow.model_validate(options, context={"flow_definition": declared})
    return built
