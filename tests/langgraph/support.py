"""What the tests of the LangGraph adapter share: short definitions, and runs with the state made of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from activities.adapters.base import Adapter, Answer, JsonObject, ModelEndpoint, StepContext, StepResult
from activities.adapters.langgraph.adapter import create
from omium_core.settings import Settings
from tests.support.toolbox import MemoryToolBox

#: An endpoint for runs that ask no model.
NOWHERE = "http://127.0.0.1:1/v1"


def edges(*pairs: str) -> list[JsonObject]:
    """`a -> b` as edges."""
    return [dict(zip(("from", "to"), pair.split(" -> "), strict=True)) for pair in pairs]


def template(name: str, output: str, text: Any = "x") -> JsonObject:
    return {"id": name, "type": "template", "template": text, "output": output}


def graph(nodes: Iterable[JsonObject], links: Iterable[JsonObject], **state: Any) -> JsonObject:
    return {"nodes": list(nodes), "edges": list(links), "state": state}


def adapter(**settings: Any) -> Adapter:
    return create(Settings(**settings), Path())


def context(base_url: str = NOWHERE, tools: MemoryToolBox | None = None, index: int = 0) -> StepContext:
    return StepContext("run", index, 1, ModelEndpoint(base_url, "key", "default-model"), tools or MemoryToolBox())


class Run:
    """A run from its start, one step at a time. `results` are those of all steps."""

    def __init__(
        self,
        adapter: Adapter,
        definition: JsonObject,
        inputs: JsonObject | None = None,
        *,
        base_url: str = NOWHERE,
        tools: MemoryToolBox | None = None,
    ) -> None:
        self._adapter = adapter
        self.definition = definition
        self._base_url = base_url
        self.tools = tools or MemoryToolBox()
        self.state: JsonObject = adapter.start(definition, inputs or {})
        self.results: list[StepResult] = []

    @property
    def steps(self) -> list[str | None]:
        """Names of what followed each step."""
        return [result.next_step for result in self.results]

    async def step(self) -> StepResult:
        here = context(self._base_url, self.tools, len(self.results))
        result = await self._adapter.run_step(self.definition, self.state, here)
        self.state = json.loads(json.dumps(result.state, allow_nan=False))
        self.results.append(result)
        return result

    async def ask(self, answers: Mapping[str, Answer] | None = None) -> StepResult:
        """One attempt of the next step, with these answers; what it did is forgotten if it asks."""
        here = replace(context(self._base_url, self.tools, len(self.results)), answers=answers or {})
        result = await self._adapter.run_step(self.definition, self.state, here)
        if not result.interrupts:
            self.state = json.loads(json.dumps(result.state, allow_nan=False))
            self.results.append(result)
        return result

    async def finish(self) -> Any:
        """Runs to the end; the outputs."""
        while (await self.step()).next_step is not None:
            assert len(self.results) < 50
        return self.results[-1].outputs
