"""Judges the contracts of a definition when it arrives: what cannot be read, names that are no steps, quorums that no vote
can reach. Pure; problems are told all at once, with paths from the definition's root.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

from activities import expressions, templates
from activities.adapters.base import Json, JsonObject
from activities.contracts.reading import Contracts, Placed, join, read_all
from activities.contracts.spec import (
    AgentVoter,
    Approval,
    Checkpoint,
    Condition,
    Handoff,
    ValidatorVoter,
    voter_name,
)
from activities.policies.reading import definition_policy_problems
from activities.schemas import schema_problems
from omium_core.errors import Problem

#: More are not told at once.
MAX_PROBLEMS = 100


def contract_problems(definition: JsonObject, unit_names: Collection[str], framework: str = "") -> list[Problem]:
    """All problems of the four sections. `unit_names` are the steps that there may be; none of them where that is not known."""
    contracts, problems = read_all(definition)
    problems += undecided_handoffs(definition, framework)
    if "policies" in definition:
        problems += definition_policy_problems(definition["policies"])
    problems += all_problems(contracts, unit_names)
    return problems[:MAX_PROBLEMS]


def undecided_handoffs(definition: JsonObject, framework: str, path: str = "") -> list[Problem]:
    """A list of handoffs that may be meant as votes, or as Semantic Kernel's own ways of a conversation."""
    is_undecided = (
        framework == "semantic_kernel"
        and isinstance(definition.get("handoffs"), list)
        and definition.get("orchestration") is None
        and definition.get("functions") is None
    )
    message = (
        "These are votes on handoffs. Who may hand a conversation over to whom is said in `orchestration.handoffs`; "
        "if votes are meant, name the `orchestration`, as in 'sequential'."
    )
    return [Problem(join(path, "handoffs"), message)] if is_undecided else []


def all_problems(contracts: Contracts, unit_names: Collection[str]) -> list[Problem]:
    """Problems of contracts whose shape is right, wherever in the definition they stand."""
    found = chain(
        *(checkpoint_problems(entry, unit_names) for entry in contracts.checkpoints),
        *(approval_problems(entry, unit_names) for entry in contracts.approvals),
        *(handoff_problems(entry, unit_names) for entry in contracts.handoffs),
        _repeated((entry.path, entry.part.name) for entry in contracts.checkpoints),
        _repeated((entry.path, entry.part.name) for entry in contracts.approvals),
        _repeated((entry.path, entry.part.name) for entry in contracts.handoffs),
    )
    return list(islice(found, MAX_PROBLEMS))


def checkpoint_problems(entry: Placed[Checkpoint], unit_names: Collection[str]) -> Iterator[Problem]:
    part, path = entry.part, entry.path
    yield from _steps(entry, unit_names)
    yield from condition_problems(part.preconditions, f"{path}.preconditions")
    yield from condition_problems(part.postconditions, f"{path}.postconditions")
    if part.output_schema is not None:
        yield from schema_problems(part.output_schema, f"{path}.output_schema")
    if not (part.preconditions or part.postconditions or part.output_schema is not None or part.name):
        yield Problem(path, "Says nothing: it needs `preconditions`, `postconditions`, an `output_schema` or a `name`.")


def approval_problems(entry: Placed[Approval], unit_names: Collection[str]) -> Iterator[Problem]:
    part, path = entry.part, entry.path
    yield from _steps(entry, unit_names)
    yield from _timeouts(entry)
    if part.condition is not None and (wrong := expressions.check(part.condition)):
        yield Problem(f"{path}.condition", wrong)
    yield from _templates(part.question, f"{path}.question")
    if part.on_timeout is not None and part.seconds is None:
        yield Problem(f"{path}.on_timeout", "Needs a `timeout_s`: without one the question stays open.")
    has_default = "default_value" in part.model_fields_set
    if part.on_timeout == "edit" and not has_default:
        yield Problem(f"{path}.default_value", "Is required: it is what `on_timeout: edit` answers.")
    if has_default and part.on_timeout != "edit":
        yield Problem(f"{path}.default_value", "Is answered only by `on_timeout: edit`.")


def handoff_problems(entry: Placed[Handoff], unit_names: Collection[str]) -> Iterator[Problem]:
    part, path = entry.part, entry.path
    for key, name in (("from", part.sender), ("to", part.to)):
        if name is not None:
            yield from _unknown(name, f"{path}.{key}", unit_names)
    yield from _timeouts(entry)
    voters = part.all_voters
    seen: set[str] = set()
    for index, voter in enumerate(voters if part.voters else ()):
        where = f"{path}.voters[{index}]"
        name, _ = voter_name(voter)
        if name in seen:
            yield Problem(where, f"{name!r} has a vote already: each voter needs a name of its own.")
        seen.add(name)
        if isinstance(voter, AgentVoter):
            yield from condition_problems(voter.preconditions, f"{where}.preconditions")
            if not voter.preconditions:
                yield from _unknown(name, where, unit_names)
        elif isinstance(voter, ValidatorVoter) and (wrong := templates.check(voter.prompt)):
            yield Problem(f"{where}.prompt", wrong)
    if isinstance(part.quorum, int) and part.quorum > len(voters):
        yield Problem(f"{path}.quorum", f"Asks for {part.quorum} voters; there are {len(voters)}.")


def condition_problems(conditions: Sequence[Condition], path: str) -> Iterator[Problem]:
    """Conditions whose text is wrong; `path` is that of the list."""
    for index, condition in enumerate(conditions):
        if wrong := expressions.check(condition.expression):
            yield Problem(f"{path}[{index}]", wrong)


def _steps(entry: Placed[Checkpoint] | Placed[Approval], unit_names: Collection[str]) -> Iterator[Problem]:
    part, path = entry.part, entry.path
    if part.step is not None and part.steps is not None:
        yield Problem(f"{path}.steps", "Stands in place of `step`: give one of them.")
    if part.step is not None:
        yield from _unknown(part.step, f"{path}.step", unit_names)
    for index, name in enumerate(part.steps or ()):
        yield from _unknown(name, f"{path}.steps[{index}]", unit_names)


def _unknown(name: str, path: str, known: Collection[str]) -> Iterator[Problem]:
    if not known or name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    names = ", ".join(sorted(known)[:20]) + (", ..." if len(known) > 20 else "")
    yield Problem(path, f"There is no step {name!r}.{hint} Known are: {names}.")


def _timeouts(entry: Placed[Approval] | Placed[Handoff]) -> Iterator[Problem]:
    given = [name for name in ("timeout_s", "timeout_ms", "timeout") if getattr(entry.part, name) is not None]
    for name in given[1:]:
        yield Problem(f"{entry.path}.{name}", f"Stands in place of `{given[0]}`: give one of them.")


def _templates(value: Json, path: str) -> Iterator[Problem]:
    if isinstance(value, str) and (wrong := templates.check(value)):
        yield Problem(path, wrong)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from _templates(item, f"{path}[{index}]")
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _templates(item, join(path, key))


def _repeated(names: Iterable[tuple[str, str | None]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, name in names:
        if name is not None and (before := first.setdefault(name, path)) != path:
            yield Problem(f"{path}.name", f"{name!r} is the name of {before} already.")
