"""Steps of the Semantic Kernel adapter, taken as a worker takes them: the state goes through bytes between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from activities.adapters.base import Adapter, Answer, JsonObject, ModelEndpoint, StepContext, StepResult, ToolBox
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox


def agent(name: str, instructions: str, **fields: Any) -> JsonObject:
    return {"type": "chat_completion_agent", "name": name, "instructions": instructions, **fields}


def calling(tool: str, **arguments: Any) -> JsonObject:
    """What a model says to call a tool."""
    return {"tool_calls": [{"name": tool, "arguments": arguments}]}


async def step(
    adapter: Adapter,
    server: ModelServer,
    definition: JsonObject,
    state: JsonObject,
    *,
    tools: ToolBox | None = None,
    answers: Mapping[str, Answer] | None = None,
) -> StepResult:
    """One attempt of one step."""
    endpoint = ModelEndpoint(server.base_url, "placeholder", "default-model")
    context = StepContext("run", 0, 1, endpoint, tools or MemoryToolBox(), answers or {})
    fresh = json.loads(json.dumps(state, sort_keys=True))
    return await adapter.run_step(definition, fresh, context)


async def run(
    adapter: Adapter,
    server: ModelServer,
    definition: JsonObject,
    inputs: JsonObject,
    *,
    tools: ToolBox | None = None,
    answers: Mapping[str, str] | None = None,
) -> StepResult:
    """All steps; people say what `answers` has for the id of their question."""
    result = StepResult(adapter.start(definition, inputs), "first")
    while result.next_step is not None:
        state = result.state
        result = await step(adapter, server, definition, state, tools=tools)
        while result.interrupts:
            said = {one.id: Answer("approve", (answers or {})[one.id]) for one in result.interrupts}
            result = await step(adapter, server, definition, state, tools=tools, answers=said)
    return result
