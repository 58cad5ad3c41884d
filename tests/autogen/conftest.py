"""One adapter for all tests, a model, and a driver of turns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from activities.adapters.base import Adapter, Answer, JsonObject, ModelEndpoint, StepContext, StepResult, ToolBox
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox


class Runner:
    """Takes a definition from turn to turn, with its state made of bytes between them."""

    def __init__(self, adapter: Adapter, server: ModelServer) -> None:
        self.adapter = adapter
        self.server = server
        self.tools: ToolBox = MemoryToolBox()

    def context(self, answers: Mapping[str, Answer] | None = None) -> StepContext:
        endpoint = ModelEndpoint(self.server.base_url, "placeholder", "default-model")
        return StepContext("run", 0, 1, endpoint, self.tools, answers or {})

    async def turns(self, definition: JsonObject, inputs: JsonObject) -> AsyncIterator[StepResult]:
        state = self.adapter.start(definition, inputs)
        while True:
            result = await self.adapter.run_step(definition, state, self.context())
            yield result
            if result.next_step is None or result.interrupts:
                return
            state = json.loads(json.dumps(result.state))

    async def run(self, definition: JsonObject, inputs: JsonObject | None = None) -> Any:
        """The outputs of a whole run."""
        results = [result async for result in self.turns(definition, inputs or {"task": "Go"})]
        assert results[-1].interrupts == ()
        return results[-1].outputs

    def asked(self) -> list[JsonObject]:
        """The bodies of all model calls."""
        return [dict(call.body) for call in self.server.calls]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load_adapter("autogen", Settings(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def runner(adapter: Adapter, server: ModelServer) -> Runner:
    return Runner(adapter, server)
