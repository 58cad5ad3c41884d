"""What must be settled before a step runs and before its result counts: conditions, approvals, handoffs.

Nothing here costs a step whose definition says nothing of it. Conditions are evaluated in threads: over large data they
take their time, and heartbeats must not wait for them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from activities.adapters.base import Answer, Edit, FrameworkDefinition, Json, JsonObject, StepError, StepResult
from activities.contracts.evaluation import ApprovalWish, Scope, StepContract, for_step
from activities.contracts.handoffs import HandoffAsk, handoff_ask
from activities.contracts.reading import Contracts
from activities.expressions import scope
from activities.gateway.session import StepSession
from activities.stores.values import dump


class Rejected(StepError):
    """A person said no."""

    failure_type = "validation_error"
    retryable = False
    redoable = True


@dataclass
class StepWork:
    """A step that is ready to run: its definition without the sections, its state, and what was promised of it.

    `start` counts before it and `end` when it is done, where it is the first or the last of a flow's node; `steps` counts
    for it by its units. `senders` hand over to it.
    """

    half: FrameworkDefinition
    definition: JsonObject
    state: JsonObject
    inputs: JsonObject
    steps: Contracts
    start: Contracts = field(default_factory=Contracts)
    end: Contracts = field(default_factory=Contracts)
    senders: Sequence[str] = ()
    #: The names of what comes next, as far as that is known.
    units: tuple[str, ...] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict)
    #: The gateway's session of the attempt, once it runs.
    session: StepSession | None = None

    @property
    def has_contracts(self) -> bool:
        return bool(self.steps or self.start or self.end)

    @property
    def before(self) -> StepContract:
        return for_step(self.start + self.steps, self.units)

    def scope(self, state: JsonObject, output: Json = None) -> Scope:
        return scope(self.half.values(state), self.inputs, output)

    def handoff(self) -> HandoffAsk | None:
        """What has to be agreed before the step begins."""
        return self._ask(self.before, self.start + self.steps)

    def late_handoff(self, contract: StepContract) -> HandoffAsk | None:
        """What should have been agreed before the step that `contract` is of."""
        return self._ask(replace(contract, contracts=contract.late), self.steps)

    def handoff_to(self, receivers: Sequence[str]) -> HandoffAsk | None:
        """What has to be agreed before these take over."""
        return self._ask(for_step(self.start + self.steps, receivers), self.start + self.steps)

    def _ask(self, contract: StepContract, contracts: Contracts) -> HandoffAsk | None:
        payload = hashlib.sha256(dump(self.half.values(self.state))).hexdigest()
        return handoff_ask(contracts, contract, self.senders, self.scope(self.state), payload)


@dataclass(frozen=True)
class Gate:
    """What a step waits for. At most one of both is there."""

    questions: Sequence[ApprovalWish] = ()
    handoff: HandoffAsk | None = None

    def __bool__(self) -> bool:
        return bool(self.questions) or self.handoff is not None


async def before(work: StepWork, committed: int) -> Gate:
    """What keeps a step from running. Raises `ContractBroken` and `Rejected`; takes a person's edit into the state.

    `committed` is the log index by which the step's handoff was agreed, 0 if it was not.
    """
    if not work.start and not work.steps:
        return Gate()
    contract, given = work.before, work.scope(work.state)
    if not committed:
        # an agent votes by its pre-conditions: what it refuses is a vote, not yet a failure
        asked = await asyncio.to_thread(work.handoff)
        if asked is not None:
            return Gate(handoff=asked)
    await asyncio.to_thread(contract.check_before, given)
    questions = await asyncio.to_thread(contract.approvals, "before", given)
    unanswered = _unanswered(questions, work.answers)
    if not unanswered:
        for value in _edits(questions, work.answers):
            work.state = _edited(work, work.state, value, work.units)
    return Gate(unanswered)


async def after(work: StepWork, result: StepResult, committed: int) -> tuple[Gate, StepResult, StepContract | None]:
    """What keeps a result from counting; the result with a person's edit; the contract that it fulfils."""
    if not work.steps and not (work.end and result.next_step is None):
        return Gate(), result, None
    units = result.units or work.units
    contract = for_step(work.steps, units, work.units or None)
    earlier = work.scope(work.state)
    if contract.late.handoffs and not committed:
        # who took over only running could tell: the vote is made up for, and the answered calls are kept meanwhile
        asked = await asyncio.to_thread(work.late_handoff, contract)
        if asked is not None:
            return Gate(handoff=asked), result, contract
    judged = [(contract, work.scope(result.state, result.unit))]
    if work.end and result.next_step is None:
        # a node is judged by what it gives to the flow, each of its steps by what it made
        judged.append((for_step(work.end, units), work.scope(result.state, result.outputs)))
    questions: list[ApprovalWish] = []
    for part, later in judged:
        await asyncio.to_thread(part.check_after, earlier, later)
        questions += await asyncio.to_thread(part.approvals, "after", later)
    whole = replace(contract, contracts=judged[-1][0].contracts + work.steps) if len(judged) > 1 else contract
    unanswered = _unanswered(questions, work.answers)
    if unanswered:
        return Gate(unanswered), result, whole
    for value in _edits(questions, work.answers):
        result = replace(
            result,
            state=_edited(work, result.state, value, units),
            unit=value,
            outputs=_edited_outputs(result.outputs, value),
        )
    return Gate(), result, whole


def _unanswered(questions: Sequence[ApprovalWish], answers: Mapping[str, Answer]) -> list[ApprovalWish]:
    """The questions that are open. `Rejected` if one was answered with no."""
    for question in questions:
        answer = answers.get(question.interrupt_id)
        if answer is not None and answer.decision == "reject":
            said = f": {answer.value}" if answer.value else ""
            raise Rejected(f"The step was rejected{said}")
    return [question for question in questions if question.interrupt_id not in answers]


def _edits(questions: Sequence[ApprovalWish], answers: Mapping[str, Answer]) -> list[Json]:
    given = [answers[question.interrupt_id] for question in questions]
    return [answer.value for answer in given if answer.decision == "edit"]


def _edited(work: StepWork, state: JsonObject, value: Json, units: Sequence[str]) -> JsonObject:
    """The state with a person's value: fields by their names, or the one value of what ran."""
    fields = work.half.values(state)
    if not isinstance(value, dict) or not set(value) <= set(fields):
        name = next((unit for unit in units if unit in fields), None)
        if name is None:
            raise Rejected(f"The edit fits no field of the state; there are: {', '.join(sorted(fields))}")
        value = {name: value}
    return work.half.edit(work.definition, state, Edit(values=value))[1]


def _edited_outputs(outputs: Json, value: Json) -> Json:
    """The run's outputs, where the edited step was the last."""
    if not isinstance(outputs, dict):
        return value if outputs is not None else None
    if isinstance(value, dict) and set(value) & set(outputs):
        return {**outputs, **{name: value[name] for name in value if name in outputs}}
    return {**outputs, "raw": value} if "raw" in outputs else outputs
