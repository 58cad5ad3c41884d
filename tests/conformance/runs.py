"""Cases for the conformance suite, and the driver that takes them from step to step as a worker would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.adapters.base import Adapter, JsonObject, ModelEndpoint, StepContext, StepResult
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

DEFAULT_MODEL = "default-model"

#: A run that needs more steps than this has lost its way.
MOST_STEPS = 30


@dataclass(frozen=True)
class Case:
    """A definition with inputs, and what the model says to it."""

    name: str
    definition: JsonObject
    inputs: JsonObject
    #: The names of all steps, in order.
    steps: tuple[str, ...]
    #: Model calls of a whole run, and the models that are asked.
    model_calls: int
    models: frozenset[str] = frozenset({DEFAULT_MODEL})
    rules: Sequence[Mapping[str, Any]] = ()
    #: Tool calls of a whole run, in any order: name and arguments.
    tool_calls: tuple[tuple[str, JsonObject], ...] = ()
    #: A part of the outputs' JSON text.
    says: str = ""


@dataclass
class Run:
    """A run in the making: what it asked for, and the bytes of its state after each step."""

    case: Case
    server: ModelServer
    tools: MemoryToolBox = field(default_factory=MemoryToolBox)
    states: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    result: StepResult | None = None

    def context(self, attempt: int = 1) -> StepContext:
        endpoint = ModelEndpoint(self.server.base_url, "placeholder", DEFAULT_MODEL)
        return StepContext(f"run-{self.case.name}", len(self.states), attempt, endpoint, self.tools)

    def requests(self) -> list[str]:
        """The bodies of all model calls so far, sorted: branches of one step may call in any order."""
        return sorted(json.dumps(call.body, sort_keys=True) for call in self.server.calls)


def to_bytes(state: JsonObject) -> bytes:
    """A state as it is stored."""
    return json.dumps(state, sort_keys=True, allow_nan=False).encode()


async def advance(adapter: Adapter, run: Run, state: JsonObject) -> JsonObject:
    """One step; the state after it, fresh from its bytes."""
    run.result = await adapter.run_step(run.case.definition, state, run.context())
    run.states.append(to_bytes(run.result.state))
    fresh: JsonObject = json.loads(run.states[-1])
    return fresh


async def run_to_the_end(adapter: Adapter, case: Case, server: ModelServer) -> Run:
    """All steps of a case, with the state made of bytes between them."""
    run = Run(case, server)
    state = json.loads(to_bytes(adapter.start(case.definition, case.inputs)))
    name: str | None = await adapter.first_step(case.definition)
    while name is not None:
        assert len(run.names) < MOST_STEPS, run.names
        run.names.append(name)
        state = await advance(adapter, run, state)
        assert run.result is not None
        name = run.result.next_step
    return run
