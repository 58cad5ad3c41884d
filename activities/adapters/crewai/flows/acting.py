"""What the methods of a flow do: crews and agents through the gateway, tools, expressions. Imports CrewAI."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from activities.adapters.base import BadDefinition, Json, JsonObject, StepContext
from activities.adapters.crewai.build import CrewBuilder
from activities.adapters.crewai.checks import concurrent_run
from activities.adapters.crewai.crew_run import run_task
from activities.adapters.crewai.flows.spec import (
    Action,
    AgentCall,
    CrewCall,
    EachCall,
    ExpressionCall,
    ToolCall,
)
from activities.adapters.crewai.flows.templates import bare, rendered
from activities.adapters.crewai.line import Line
from activities.adapters.crewai.llm import LineTransport
from activities.adapters.crewai.states import SavedOutput
from activities.expressions import ExpressionError, calculate

#: Items that an `each` may run over.
MOST_ITEMS = 1_000


#: What the expressions of one flow may make together, in characters of JSON, and take, in seconds.
_MOST_MADE = 16_000_000
_MOST_SECONDS = 60.0


class Said(dict[str, Any]):
    """What a crew or an agent gave, as expressions see it. As a router's event it is its text, as CrewAI has it."""

    def __str__(self) -> str:
        return str(self["raw"])


class Actor:
    """Runs the actions of one flow, one at a time."""

    def __init__(self, context: StepContext, line: Line, transport: LineTransport) -> None:
        self._context, self._line, self._transport = context, line, transport
        self._made = 0
        self._seconds = 0.0

    async def run(self, action: Action, scope: Mapping[str, Json]) -> Json:
        """What an action gives; `scope` are the names that its expressions see.

        Raises `BadDefinition` where an expression cannot be evaluated: the same data would fail it again.
        """
        match action:
            case ExpressionCall():
                return self._calculated(action.expr, action.path, scope)
            case CrewCall():
                return await self._crew(action, scope)
            case AgentCall():
                return await self._agent(action, scope)
            case ToolCall():
                arguments = self._rendered(action.arguments, f"{action.path}.with", scope)
                return await self._line.acall(lambda: self._context.tools.call(action.name, arguments))
            case EachCall():
                return await self._each(action, scope)

    async def _crew(self, call: CrewCall, scope: Mapping[str, Json]) -> Said:
        inputs = self._rendered(call.inputs, f"{call.path}.inputs", scope)
        done: list[SavedOutput] = []
        while len(done) < len(call.crew.tasks):
            together = concurrent_run(call.crew, len(done))
            # One after the other: the order of the calls is then the same in every attempt.
            done += [
                await run_task(call.crew, inputs, done, index, self._context, self._line, self._transport)
                for index in together
            ]
        outputs = [{"name": o["name"], "agent": o["agent"], "raw": o["raw"], "json_dict": o["json"]} for o in done]
        return Said(raw=done[-1]["raw"], json_dict=done[-1]["json"], pydantic=done[-1]["json"], tasks_output=outputs)

    async def _agent(self, call: AgentCall, scope: Mapping[str, Json]) -> Said:
        given = self._rendered(call.input, f"{call.place}.input", scope)
        if not isinstance(given, str) and not _are_messages(given):
            raise BadDefinition(
                f"{call.place}.input: This must give a text or a list of messages with role and content."
            )
        agent = CrewBuilder(call.crew, self._context, self._line, self._transport).build_agent(call.name)
        output = await agent.kickoff_async(given)
        return Said(raw=output.raw, pydantic=None, agent_role=output.agent_role)

    async def _each(self, call: EachCall, scope: Mapping[str, Json]) -> list[Json]:
        items = self._calculated(call.items, f"{call.path}.in", scope)
        if not isinstance(items, list) or len(items) > MOST_ITEMS:
            raise BadDefinition(f"{call.path}.in: This must give a list of at most {MOST_ITEMS} items.")
        results: list[Json] = []
        for item in items:
            results.append(await self._steps(call, {**scope, "item": item}))
        return results

    async def _steps(self, call: EachCall, scope: Mapping[str, Json]) -> Json:
        """What the last step gave that ran for one item."""
        outputs: JsonObject = dict(scope["outputs"])
        last: Json = None
        for step in call.steps:
            inner = {**scope, "outputs": outputs}
            if step.condition is not None:
                holds = self._calculated(step.condition, f"{step.path}.if", inner)
                if not isinstance(holds, bool):
                    raise BadDefinition(f"{step.path}.if: A condition must give true or false.")
                if not holds:
                    continue
            last = outputs[step.name] = await self.run(step.action, inner)
        return last

    def _calculated(self, source: str, path: str, scope: Mapping[str, Json]) -> Json:
        try:
            return self._bounded(bare(source), scope)
        except ExpressionError as error:
            raise BadDefinition(f"{path}: {error}") from error

    def _rendered(self, template: Json, path: str, scope: Mapping[str, Json]) -> Json:
        try:
            return rendered(template, path, lambda source: self._bounded(source, scope))
        except ExpressionError as error:
            raise BadDefinition(str(error)) from error

    def _bounded(self, source: str, scope: Mapping[str, Json]) -> Json:
        """What an expression gives. Each is bounded by itself, and here all of them together."""
        began = time.monotonic()
        value = calculate(source, scope)
        self._seconds += time.monotonic() - began
        self._made += len(json.dumps(value))
        if self._made > _MOST_MADE or self._seconds > _MOST_SECONDS:
            raise ExpressionError("The expressions of this flow make or take too much together.")
        return value


def _are_messages(given: Json) -> bool:
    roles = ("system", "user", "assistant")
    return (
        isinstance(given, list)
        and bool(given)
        and all(
            isinstance(message, dict) and message.get("role") in roles and isinstance(message.get("content"), str)
            for message in given
        )
    )


def as_text(value: Json) -> str:
    """What a method gave, as a text."""
    if isinstance(value, dict) and isinstance(value.get("raw"), str):
        return str(value["raw"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
