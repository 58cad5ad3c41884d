"""Runs an agent behind a connection: one step, from its kickoff to its end, however many workers it outlives."""

from __future__ import annotations

from pathlib import Path

from activities.adapters.base import BadDefinition, JsonObject, StepContext, StepResult, ToolBox
from activities.adapters.external.definition import DEFINITION, part_of, step_name
from omium_core.errors import Problem
from omium_core.settings import Settings


class ExternalAdapter:
    """Implements `Adapter`. All that reaches out is `StepContext.external`, which knows what was started before."""

    name = DEFINITION.name

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        return DEFINITION.validate(definition, tools=None)

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return {"inputs": {**part_of(definition).inputs, **inputs}, "result": None}

    async def first_step(self, definition: JsonObject) -> str:
        return step_name(part_of(definition))

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """Kicks the agent off once and waits for its end. Raises the failures of `activities.connections.failures`."""
        part = part_of(definition)
        if not isinstance(state.get("inputs"), dict):
            raise BadDefinition("The state is none of an external agent.")
        if state.get("result") is not None:
            raise BadDefinition("The external agent has its result; there is nothing left to do.")
        if context.external is None:
            raise BadDefinition("This worker has no way to external agents.")
        ran = await context.external.run(
            part.connection, state["inputs"], options=part.options, harmless=part.harmless, progress=context.progress
        )
        result: JsonObject = {
            "raw": ran.text,
            "json": ran.data,
            "kickoff_id": ran.kickoff_id,
            "status": ran.status,
            "tokens": ran.tokens,
        }
        return StepResult(
            state={**state, "result": result},
            next_step=None,
            outputs=result,
            unit=ran.text if ran.data is None else ran.data,
            units=(step_name(part),),
        )


def create(settings: Settings, scratch: Path) -> ExternalAdapter:
    return ExternalAdapter()
