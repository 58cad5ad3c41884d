"""Cases for the conformance suite, and the driver that takes them from step to step as a worker would."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.adapters.base import (
    Adapter,
    Answer,
    Edit,
    Interrupt,
    JsonObject,
    ModelEndpoint,
    StepContext,
    StepError,
    StepResult,
)
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

DEFAULT_MODEL = "default-model"

#: A run that needs more steps than this has lost its way.
MOST_STEPS = 30


@dataclass(frozen=True)
class Change:
    """An edit of a case before one of its steps, and what comes of it."""

    name: str
    edit: Edit
    #: Index of the step before which the edit is made.
    before: int = 0
    #: A part of the JSON text of that step's requests which is there because of the edit.
    shows: str = ""
    #: The models that the step asks after the edit; None where the edit does not touch them.
    models: frozenset[str] | None = None
    #: A part of the JSON text of the outputs which is there, at the run's end, because of the edit.
    says: str = ""


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
    #: The names of what runs in each step, as `StepResult.units` gives them; not checked where it is empty.
    units: tuple[tuple[str, ...], ...] = ()
    #: Fields of the last state's `values()` that a condition can name.
    values: frozenset[str] = frozenset()
    #: Edits that work, and edits that do not, each with the path of the one problem that it has.
    changes: tuple[Change, ...] = ()
    wrong_edits: tuple[tuple[str, Edit], ...] = ()
    #: What people answer, for a case whose steps ask them: a part of the question's JSON text, and the answer.
    answers: tuple[tuple[str, Answer], ...] = ()
    #: What comes of rejecting the first question without a word: a part of the outputs' text, or the step's error.
    rejected: str | type[StepError] = ""


@dataclass
class Run:
    """A run in the making: what it asked for, and the bytes of its state after each step."""

    case: Case
    server: ModelServer
    tools: MemoryToolBox = field(default_factory=MemoryToolBox)
    states: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    units: list[tuple[str, ...]] = field(default_factory=list)
    #: Model calls that a journal would have sent on: those of the attempts that ended their steps.
    paid_calls: int = 0
    #: What was answered in the last step that asked, by the question's id.
    answers: dict[str, Answer] = field(default_factory=dict)
    result: StepResult | None = None

    def context(self, attempt: int = 1, answers: Mapping[str, Answer] | None = None) -> StepContext:
        endpoint = ModelEndpoint(self.server.base_url, "placeholder", DEFAULT_MODEL)
        return StepContext(f"run-{self.case.name}", len(self.states), attempt, endpoint, self.tools, answers or {})

    def requests(self, first: int = 0) -> list[str]:
        """The bodies of all model calls from this one on, sorted: branches of one step may call in any order."""
        return sorted(json.dumps(call.body, sort_keys=True) for call in self.server.calls[first:])


def to_bytes(state: JsonObject) -> bytes:
    """A state as it is stored."""
    return json.dumps(state, sort_keys=True, allow_nan=False).encode()


async def advance(adapter: Adapter, run: Run, state: JsonObject, definition: JsonObject | None = None) -> JsonObject:
    """One step that asks nobody; the state after it, fresh from its bytes."""
    result = await adapter.run_step(definition or run.case.definition, state, run.context())
    assert result.interrupts == ()
    return _done(run, result)


async def advance_with_people(adapter: Adapter, run: Run, state: JsonObject) -> JsonObject:
    """One step, run again with one more answer for as long as it asks; every attempt asks what the one before did."""
    answers: dict[str, Answer] = {}
    before: Counter[str] = Counter()
    while True:
        first = len(run.server.calls)
        result = await adapter.run_step(run.case.definition, state, run.context(len(answers) + 1, dict(answers)))
        requests = Counter(run.requests(first))
        # Answers of the journal are found by request: what is not asked again was paid for in vain.
        assert before <= requests, before - requests
        before = requests
        if not result.interrupts:
            run.paid_calls += sum(requests.values())
            run.answers = answers or run.answers
            return _done(run, result)
        check_questions(result.interrupts, answers)
        assert len(answers) < MOST_STEPS, answers
        asked = result.interrupts[0]
        answers[asked.id] = answer_to(run.case, asked)


def check_questions(asked: Sequence[Interrupt], answers: Mapping[str, Answer]) -> None:
    """What every list of open questions must be: of different ids, none of which is answered, and plain JSON."""
    ids = [interrupt.id for interrupt in asked]
    assert len(set(ids)) == len(ids), ids
    assert answers.keys().isdisjoint(ids), ids
    assert all(ids), ids
    for interrupt in asked:
        assert json.loads(json.dumps(interrupt.question, allow_nan=False)) == interrupt.question


def answer_to(case: Case, asked: Interrupt) -> Answer:
    """The first answer of the case that fits the question."""
    text = json.dumps(asked.question, ensure_ascii=False)
    return next(answer for part, answer in case.answers if part in text)


async def run_to_the_end(
    adapter: Adapter,
    case: Case,
    server: ModelServer,
    *,
    step: Callable[[Adapter, Run, JsonObject], Awaitable[JsonObject]] = advance,
) -> Run:
    """All steps of a case, with the state made of bytes between them."""
    run = Run(case, server)
    state = json.loads(to_bytes(adapter.start(case.definition, case.inputs)))
    name: str | None = await adapter.first_step(case.definition)
    while name is not None:
        assert len(run.names) < MOST_STEPS, run.names
        run.names.append(name)
        state = await step(adapter, run, state)
        assert run.result is not None
        name = run.result.next_step
    return run


def _done(run: Run, result: StepResult) -> JsonObject:
    run.result = result
    run.units.append(result.units)
    run.states.append(to_bytes(result.state))
    fresh: JsonObject = json.loads(run.states[-1])
    return fresh
