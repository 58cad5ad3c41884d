"""Holds the contracts of a definition against one step: what does not hold, whom to ask.

All of this takes a moment, and over large data up to about a second for each condition: on an event loop that must go on,
call it in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from activities import expressions, templates
from activities.adapters.base import Json, JsonObject
from activities.contracts.broken import Broken, ContractBroken, found_by
from activities.contracts.outputs import as_json, output_of
from activities.contracts.reading import Contracts, Placed
from activities.contracts.spec import Approval, Checkpoint, Condition, Decision, FailureType, Severity, When
from activities.expressions import ExpressionError
from activities.schemas import fit_problems
from activities.templates import TemplateError

Scope = Mapping[str, Json]


@dataclass(frozen=True)
class ApprovalWish:
    """A question that a person has to answer. `timeout` is in seconds, None for none; then `on_timeout` is taken."""

    interrupt_id: str
    title: str
    question: Json
    assignee: str | None = None
    timeout: float | None = None
    on_timeout: Decision | None = None
    default_value: Json = None


@dataclass(frozen=True)
class StepContract:
    """What is promised of one step. `units` are the step's names; a scope is what `expressions.scope` gives.

    A scope holds the values of the state before the step and no output, or the values after it and `StepResult.unit` as
    its output, of which each entry sees the part that it is for. `late` holds what could not be asked in time, because
    only running the step told who runs.
    """

    units: tuple[str, ...] = ()
    contracts: Contracts = field(default_factory=Contracts)
    late: Contracts = field(default_factory=Contracts)

    def __bool__(self) -> bool:
        return bool(self.contracts)

    @property
    def checkpoint_name(self) -> str | None:
        """The name that the definition gives to the step's checkpoint: that of the first entry for the step."""
        entries = sorted(self.contracts.checkpoints, key=lambda entry: entry.part.names is None)
        return next((entry.part.name for entry in entries if entry.part.name), None)

    @property
    def preconditions_json(self) -> list[Json]:
        """As written, for the checkpoint's row."""
        return [one.as_written() for entry in self.contracts.checkpoints for one in entry.part.preconditions]

    @property
    def postconditions_json(self) -> list[Json]:
        """As written; an output schema is `{"output_schema": ...}`."""
        found: list[Json] = []
        for entry in self.contracts.checkpoints:
            found += [one.as_written() for one in entry.part.postconditions]
            if entry.part.output_schema is not None:
                found.append({"output_schema": entry.part.output_schema})
        return found

    def check_before(self, scope: Scope) -> None:
        """`ContractBroken` if a pre-condition does not hold."""
        broken = _preconditions(self.contracts, scope)
        if broken:
            raise ContractBroken("Pre-conditions of the step do not hold", broken, redoable=False)

    def check_after(self, before: Scope, after: Scope) -> None:
        """`ContractBroken` if an output schema or a post-condition does not hold, or a pre-condition that came late."""
        broken = _preconditions(self.late, before)
        if broken:
            raise ContractBroken("Pre-conditions of the step did not hold", broken, redoable=False)
        for entry in self.contracts.checkpoints:
            broken += self._after(entry, after)
        if broken:
            raise ContractBroken("The step is not as promised", broken)

    def approvals(self, when: When, scope: Scope) -> list[ApprovalWish]:
        """Whom to ask about the step. What should have been asked before and could not is asked after it.

        `ContractBroken` if a condition or a template cannot be evaluated.
        """
        late = {entry.path for entry in self.late.approvals if entry.part.when == "before"}
        asked: list[ApprovalWish] = []
        for interrupt_id, entry in self._by_interrupt_id():
            due: When = "after" if entry.path in late else entry.part.when
            if due == when and (wish := self._wish(entry, interrupt_id, scope)) is not None:
                asked.append(wish)
        return asked

    def names_of(self, entry: Checkpoint | Approval) -> tuple[str, ...]:
        """The step's units that an entry is for."""
        return self.units if entry.names is None else tuple(name for name in self.units if name in entry.names)

    def _after(self, entry: Placed[Checkpoint], scope: Scope) -> list[Broken]:
        output = output_of(scope["output"], self.units, self.names_of(entry.part))
        broken: list[Broken] = []
        if entry.part.output_schema is not None:
            output, broken = _fit(output, entry.part.output_schema, entry)
        path = f"{entry.path}.postconditions"
        return broken + broken_conditions(entry.part.postconditions, path, {**scope, "output": output}, entry.part)

    def _by_interrupt_id(self) -> list[tuple[str, Placed[Approval]]]:
        """Ids that are the same in every attempt, before and after the step: they follow from the definition alone."""
        found: dict[str, Placed[Approval]] = {}
        for entry in self.contracts.approvals:
            place = "" if entry.path == "approvals[0]" else entry.path
            interrupt_id = ":".join(filter(None, ("approval", entry.part.when, entry.part.name or place)))
            # an agent of a flow may use a name that the flow uses too
            found[f"{interrupt_id}:{entry.path}" if interrupt_id in found else interrupt_id] = entry
        return list(found.items())

    def _wish(self, entry: Placed[Approval], interrupt_id: str, scope: Scope) -> ApprovalWish | None:
        part = entry.part
        names = self.names_of(part)
        scope = {**scope, "output": output_of(scope["output"], self.units, names)}
        if part.condition is not None and not _holds(part.condition, f"{entry.path}.condition", scope):
            return None
        step = ", ".join(names)
        question = part.question
        if question is None:
            question = {"step": step} if part.when == "before" else {"step": step, "output": scope["output"]}
        else:
            question = rendered(question, f"{entry.path}.question", scope)
        title = part.title or (
            f"May {step or 'the next step'} begin?" if part.when == "before" else f"Is {step} right?"
        )
        seconds = part.seconds
        on_timeout = None if seconds is None else part.on_timeout or "reject"
        default = part.default_value if on_timeout == "edit" else None
        return ApprovalWish(interrupt_id, title, question, part.assignee, seconds, on_timeout, default)


def for_step(contracts: Contracts, units: Sequence[str], foreseen: Sequence[str] | None = None) -> StepContract:
    """What is promised of the step that these units are.

    After a step, `foreseen` are the units that were known before it: what is for the others could not be checked then.
    """
    names = tuple(units)
    matching = _matching(contracts, names)
    if foreseen is None or set(names) <= set(foreseen):
        return StepContract(names, matching)
    known = _matching(contracts, tuple(foreseen))
    late = Contracts(
        tuple(entry for entry in matching.checkpoints if entry not in known.checkpoints),
        tuple(entry for entry in matching.approvals if entry not in known.approvals),
        tuple(entry for entry in matching.handoffs if entry not in known.handoffs),
    )
    return StepContract(names, matching, late)


def broken_conditions(
    conditions: Sequence[Condition], path: str, scope: Scope, entry: Checkpoint | None = None
) -> list[Broken]:
    """The conditions that do not hold; one that cannot be evaluated does not. `path` is that of the list."""
    default: FailureType = entry.failure_type if entry else "validation_error"
    severity: Severity | None = entry.severity if entry else None
    broken: list[Broken] = []
    for index, condition in enumerate(conditions):
        source, where = condition.expression, f"{path}[{index}]"
        try:
            if expressions.evaluate(source, scope):
                continue
            found = found_by(source, scope)
        except ExpressionError as error:
            found = str(error).rstrip(".")
        broken.append(
            Broken(
                path=where,
                source=source,
                message=condition.message or f"{where} does not hold",
                found=found,
                failure_type=condition.failure_type or default,
                severity=condition.severity or severity,
            )
        )
    return broken


def rendered(template: Json, path: str, scope: Scope) -> Json:
    """A template, or JSON with templates in it, filled. `ContractBroken` if it cannot be."""
    try:
        return templates.render_value(template, scope)
    except TemplateError as error:
        raise _not_filled(path, error) from error


def rendered_text(template: str, path: str, scope: Scope) -> str:
    """The text of a template. `ContractBroken` if it cannot be filled."""
    try:
        return templates.render(template, scope)
    except TemplateError as error:
        raise _not_filled(path, error) from error


def _not_filled(path: str, error: TemplateError) -> ContractBroken:
    return ContractBroken("A template cannot be filled", [Broken(path, "", f"{path}: {error}")])


def _holds(source: str, path: str, scope: Scope) -> bool:
    try:
        return expressions.evaluate(source, scope)
    except ExpressionError as error:
        broken = Broken(path, source, f"{path} cannot be evaluated", str(error).rstrip("."))
        raise ContractBroken("A condition cannot be evaluated", [broken]) from error


def _fit(output: Json, schema: JsonObject, entry: Placed[Checkpoint]) -> tuple[Json, list[Broken]]:
    """The output as its schema reads it, and where it does not fit."""
    problems = fit_problems(output, schema, "output")
    if problems and (read := as_json(output)) is not output:
        output, problems = read, fit_problems(read, schema, "output")
    part, path = entry.part, f"{entry.path}.output_schema"
    return output, [
        Broken(path, "", f"{path} does not fit", f"{one.path}: {one.message}", part.failure_type, part.severity)
        for one in problems
    ]


def _preconditions(contracts: Contracts, scope: Scope) -> list[Broken]:
    broken: list[Broken] = []
    for entry in contracts.checkpoints:
        broken += broken_conditions(entry.part.preconditions, f"{entry.path}.preconditions", scope, entry.part)
    return broken


def _matching(contracts: Contracts, units: tuple[str, ...]) -> Contracts:
    return Contracts(
        tuple(entry for entry in contracts.checkpoints if entry.part.matches(units)),
        tuple(entry for entry in contracts.approvals if entry.part.matches(units)),
        tuple(entry for entry in contracts.handoffs if entry.part.to in units),
    )
