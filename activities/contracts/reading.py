"""Takes the contracts of a definition out of it, each with its path, collecting what is wrong with their shape.

The parts can be read one by one too (`read_checkpoint`, `read_conditions`, ...), for frameworks that have them in places of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from activities.adapters.base import BadDefinition, JsonObject
from activities.contracts.spec import VOTER_KINDS, Approval, Checkpoint, Condition, Conditions, Handoff
from omium_core.errors import Problem

#: The sections that a definition may have beside its framework's own keys.
SECTIONS = ("checkpoints", "approvals", "handoffs", "policies")
#: Frameworks that read the sections themselves, because their own parts refer to them.
READS_SECTIONS = frozenset({"flow"})
MAX_ENTRIES = 200

P = TypeVar("P", bound=BaseModel)
T = TypeVar("T")

_MESSAGES = {
    "string_type": "Must be a text.",
    "string_unicode": "Must be a text of valid characters.",
    "string_too_short": "Must not be empty.",
    "int_type": "Must be an integer.",
    "float_type": "Must be a number.",
    "list_type": "Must be an array.",
    "dict_type": "Must be an object.",
    "model_type": "Must be an object.",
    "model_attributes_type": "Must be an object.",
    "missing": "Is required.",
    "too_short": "Must not be empty.",
    "extra_forbidden": "Is not known.",
    "string_pattern_mismatch": "Must not be empty, and must not hold `:`, `[` or `]`.",
}


@dataclass(frozen=True)
class Placed(Generic[P]):
    """A part with its path from the definition's root, by which problems and failures name it."""

    path: str
    part: P


@dataclass(frozen=True)
class Contracts:
    """All that a definition promises of its steps."""

    checkpoints: tuple[Placed[Checkpoint], ...] = ()
    approvals: tuple[Placed[Approval], ...] = ()
    handoffs: tuple[Placed[Handoff], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.checkpoints or self.approvals or self.handoffs)

    def __add__(self, other: Contracts) -> Contracts:
        return Contracts(
            self.checkpoints + other.checkpoints, self.approvals + other.approvals, self.handoffs + other.handoffs
        )

    def named(self, name: str) -> Placed[Checkpoint] | None:
        """The `checkpoints` entry of that name."""
        return next((entry for entry in self.checkpoints if entry.part.name == name), None)


def bare(definition: JsonObject, framework: str = "") -> JsonObject:
    """The definition as its framework's halves get it: without the sections that are the same for all.

    A framework of `READS_SECTIONS` gets it whole.
    """
    if framework in READS_SECTIONS:
        return definition
    return {key: value for key, value in definition.items() if not is_section(key, value)}


def with_sections(definition: JsonObject, whole: JsonObject) -> JsonObject:
    """A definition that was changed while it was bare, with the sections that `whole` has."""
    return {**definition, **{key: value for key, value in whole.items() if is_section(key, value)}}


def is_section(key: str, value: Any) -> bool:
    """Whether a field of a definition is one of the sections, and not the framework's own."""
    # a map of who may hand over to whom is Semantic Kernel's own
    return key in SECTIONS and not (key == "handoffs" and isinstance(value, Mapping))


def read(definition: JsonObject) -> Contracts:
    """The contracts of a definition that was judged before. `BadDefinition` for one that has problems all the same."""
    contracts, problems = read_all(definition)
    for problem in problems:
        raise BadDefinition(f"{problem.path} is wrong: {problem.message}")
    return contracts


def read_all(definition: JsonObject, path: str = "") -> tuple[Contracts, list[Problem]]:
    """What can be read of the sections, and what is wrong with their shape; `path` is where the definition lies."""
    problems: list[Problem] = []

    def entries(section: str, read_one: Callable[[Any, str], tuple[Placed[P] | None, list[Problem]]]) -> Any:
        given = definition.get(section)
        placed, wrong = read_list(given if is_section(section, given) else None, join(path, section), read_one)
        problems.extend(wrong)
        return placed

    contracts = Contracts(
        entries("checkpoints", read_checkpoint),
        entries("approvals", read_approval),
        entries("handoffs", read_handoff),
    )
    return contracts, problems


def read_list(
    given: Any, path: str, read_one: Callable[[Any, str], tuple[T | None, list[Problem]]]
) -> tuple[tuple[T, ...], list[Problem]]:
    """A list of entries, read one by one; what is not there is an empty list."""
    if given is None:
        return (), []
    if not isinstance(given, list):
        return (), [Problem(path, "Must be an array.")]
    if len(given) > MAX_ENTRIES:
        return (), [Problem(path, f"May have {MAX_ENTRIES} entries; it has {len(given)}.")]
    found: list[T] = []
    problems: list[Problem] = []
    for index, entry in enumerate(given):
        part, wrong = read_one(entry, f"{path}[{index}]")
        problems += wrong
        if part is not None:
            found.append(part)
    return tuple(found), problems


def read_checkpoint(given: Any, path: str) -> tuple[Placed[Checkpoint] | None, list[Problem]]:
    return _read_entry(Checkpoint, given, path)


def read_approval(given: Any, path: str) -> tuple[Placed[Approval] | None, list[Problem]]:
    return _read_entry(Approval, given, path)


def read_handoff(given: Any, path: str) -> tuple[Placed[Handoff] | None, list[Problem]]:
    return _read_entry(Handoff, given, path)


_CONDITIONS: TypeAdapter[list[Condition]] = TypeAdapter(Conditions)


def read_conditions(given: Any, path: str) -> tuple[list[Condition], list[Problem]]:
    """A list of conditions, each a CEL text or an object; what is not there is an empty list."""
    if given is None:
        return [], []
    try:
        return _CONDITIONS.validate_python(given), []
    except ValidationError as error:
        return [], _shape_problems(error, path)


def placed_at(entry: Placed[P], path: str) -> Placed[P]:
    return replace(entry, path=path)


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _read_entry(model: type[P], given: Any, path: str) -> tuple[Placed[P] | None, list[Problem]]:
    if not isinstance(given, Mapping):
        return None, [Problem(path, "Must be an object.")]
    try:
        return Placed(path, model.model_validate(given)), []
    except ValidationError as error:
        return None, _shape_problems(error, path)


def _shape_problems(error: ValidationError, path: str) -> list[Problem]:
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        where = _path(path, item["loc"])
        # the alternatives of one field are told as one problem
        found[where] = f"{found[where]} Or: {_sentence(item)}" if where in found else _sentence(item)
    return [Problem(where, message) for where, message in found.items()]


def _path(path: str, location: Sequence[int | str]) -> str:
    for place, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _names_an_alternative(location, place):
            path = join(path, part)
    return path


def _names_an_alternative(location: Sequence[int | str], place: int) -> bool:
    """Whether a part of a location is no field: Pydantic also names the kind of a voter, or of a value."""
    part = location[place]
    if isinstance(location[place - 1], int) and location[0] == "voters":
        return part in VOTER_KINDS
    return place > 0 and location[0] in ("quorum", "output_schema", "question", "default_value")


def _sentence(item: ErrorDetails) -> str:
    message = _MESSAGES.get(item["type"]) or item["msg"].replace("Input should be", "Must be", 1)
    return message if message.endswith(".") else f"{message}."
