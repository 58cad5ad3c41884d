"""Edits as people and policies write them, and how they are applied when a run goes on from a checkpoint.

    {"prompts": {"writer": "..."}, "append_prompts": {"*": "..."}, "models": {"*": "..."}, "values": {...}, "inputs": {...}}

`prompt`, `model`, `state`, `state_values` and `input_params` are understood too. Everything here is pure; the paths of
problems begin at the root of the edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from activities.adapters.base import Edit, FrameworkDefinition, Json, JsonObject
from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.contracts.reading import bare, with_sections
from omium_core.errors import InvalidInput, Problem

#: All units of the step that comes next, or of the definition where only running tells what comes.
ALL = "*"

_SYNONYMS = {"state": "values", "state_values": "values", "input_params": "inputs"}
_PARTS = ("prompts", "append_prompts", "models", "values", "inputs")
_NAME_KEYS = ("agent", "agent_id", "name", "node", "task")
#: Takes the place of a prompt while we look where a definition keeps it.
_MARKER = "[the prompt that is looked for]"
#: Stands for the state of a flow of which no node has begun.
_NO_NODE: JsonObject = {"node": None}

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Edits(Edit):
    """An edit as it was asked for: `append` are texts to be added to prompts, and `*` may stand for names of prompts."""

    append: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return super().__bool__() or bool(self.append)


def read_edits(given: Json) -> Edits:
    """The edits of a request. Raises `InvalidInput` that names everything which is not understood."""
    if given is None:
        return Edits()
    if not isinstance(given, Mapping):
        raise InvalidInput("Edits must be an object.", [Problem("", "Must be an object.")])
    problems: list[Problem] = []
    parts: dict[str, JsonObject] = {name: {} for name in _PARTS}
    for key, value in given.items():
        part = _SYNONYMS.get(key, key)
        if value is None:
            continue
        if key in ("prompt", "model"):
            parts[f"{key}s"] |= dict(_single(key, value, problems))
        elif part not in parts:
            problems.append(Problem(str(key), f"Is not known; known are: {', '.join(_PARTS)}, prompt, model, state."))
        elif not isinstance(value, Mapping):
            problems.append(Problem(key, "Must be an object."))
        else:
            parts[part] |= value
    problems += _wrong_texts(parts)
    if problems:
        raise InvalidInput("The edits cannot be read.", problems)
    return Edits(
        prompts=parts["prompts"],
        models=parts["models"],
        values=parts["values"],
        inputs=parts["inputs"],
        append=parts["append_prompts"],
    )


def apply_edits(
    half: FrameworkDefinition, definition: JsonObject, states: Mapping[str, JsonObject], edits: Edit
) -> tuple[JsonObject, dict[str, JsonObject]]:
    """A definition and the states of a run's branches (one without a name, or one for each node of a flow that began)
    with edits applied. Raises `InvalidInput` as `FrameworkDefinition.edit` does."""
    if not edits:
        return definition, dict(states)
    own = bare(definition, half.name)
    edit = _plain(half, own, states, edits)
    if half is FLOW and (problems := FLOW.edit_problems(own, edit, states.values())):
        raise InvalidInput("The edit does not fit the flow.", problems)
    changed, after = own, {}
    for branch, state in states.items():
        changed, after[branch] = half.edit(own, state, edit)
    if not states:
        changed, _ = half.edit(own, _NO_NODE, edit)
    return with_sections(changed, definition), after


def _single(key: str, value: Any, problems: list[Problem]) -> Iterator[tuple[str, Any]]:
    """One prompt or model, with the name of what it is for: `{"agent": ..., "prompt": ...}`, or a text for all."""
    if isinstance(value, str):
        yield ALL, value
        return
    if not isinstance(value, Mapping):
        problems.append(Problem(key, "Must be a text or an object."))
        return
    names = [value[name] for name in _NAME_KEYS if isinstance(value.get(name), str)]
    texts = [value[name] for name in (key, f"new_{key}") if name in value]
    unknown = value.keys() - {*_NAME_KEYS, key, f"new_{key}"}
    problems.extend(Problem(f"{key}.{name}", "Is not known.") for name in sorted(map(str, unknown)))
    if not texts:
        problems.append(Problem(f"{key}.{key}", "Is required."))
    elif not unknown:
        yield (names[0] if names else ALL), texts[0]


def _wrong_texts(parts: Mapping[str, JsonObject]) -> Iterator[Problem]:
    for part in ("prompts", "append_prompts", "models"):
        for name, text in parts[part].items():
            fields = part == "prompts" and isinstance(text, Mapping) and all(isinstance(t, str) for t in text.values())
            if not isinstance(text, str) and not fields:
                yield Problem(f"{part}.{name}", "Must be a text.")
            elif not text:
                yield Problem(f"{part}.{name}", "Must not be empty.")


def _plain(half: FrameworkDefinition, definition: JsonObject, states: Mapping[str, JsonObject], edits: Edit) -> Edit:
    """The edit with texts added to the prompts that are there, and names instead of `*`."""
    append = edits.append if isinstance(edits, Edits) else {}
    if not append and ALL not in edits.prompts:
        return Edit(edits.prompts, edits.models, edits.values, edits.inputs)
    prompts = _Prompts(half, definition, states)
    texts = {name: text for name, text in edits.prompts.items() if name != ALL}
    if ALL in edits.prompts:
        texts = dict.fromkeys(prompts.coming_next("prompts"), edits.prompts[ALL]) | texts
    added = {name: text for name, text in append.items() if name != ALL}
    if ALL in append:
        added = dict.fromkeys(prompts.coming_next("append_prompts"), append[ALL]) | added
    for name, text in added.items():
        texts[name] = _longer(texts[name] if name in texts else prompts.text(name), text)
    return Edit(texts, edits.models, edits.values, edits.inputs)


def _longer(prompt: str | Mapping[str, str], text: str) -> str | Mapping[str, str]:
    if isinstance(prompt, Mapping):
        first = next(iter(prompt))
        return {**prompt, first: _longer(prompt[first], text)}  # type: ignore[dict-item]
    return f"{prompt}\n\n{text}" if prompt else text


class _Prompts:
    """Where a definition keeps its prompts: found by changing them, since only the framework's half knows."""

    def __init__(self, half: FrameworkDefinition, definition: JsonObject, states: Mapping[str, JsonObject]) -> None:
        self._half = half
        self._definition = definition
        self._states = list(states.values())

    def coming_next(self, part: str) -> list[str]:
        """The names of what comes next that has a prompt, each prompt under one name."""
        nexts = [names for state in self._states if (names := self._half.units(self._definition, state))]
        places: dict[Place, str] = {}
        for names in nexts or [tuple(sorted(self._half.unit_names(self._definition)))]:
            places = self._foremost(names) | places
        if not places:
            message = "Nothing that comes next has a prompt."
            raise InvalidInput(message, [Problem(f"{part}.{ALL}", message)])
        return list(places.values())

    def _foremost(self, names: Iterable[str]) -> dict[Place, str]:
        """Where the prompts of one step are, of the kind that comes first: its tasks say more of it than its agents."""
        found: dict[Place, str] = {}
        for name in names:
            place = self._place(name)
            if place and (not found or place[0] == next(iter(found))[0]):
                found.setdefault(place, name)
        return found

    def text(self, name: str) -> str:
        place = self._place(name)
        if place is None:
            message = f"There is no prompt of {name!r} to which something could be added."
            raise InvalidInput(message, [Problem(f"append_prompts.{name}", message)])
        found = _at(place, self._definition)
        return found if isinstance(found, str) else ""

    def _place(self, name: str) -> Place | None:
        state = self._states[0] if self._states else _NO_NODE
        try:
            changed, _ = self._half.edit(self._definition, state, Edit(prompts={name: _MARKER}))
        except InvalidInput:
            return None
        return next(_places_of(_MARKER, changed), None)


def _places_of(value: Json, within: Json) -> Iterator[Place]:
    if within == value:
        yield ()
    items = within.items() if isinstance(within, Mapping) else enumerate(within) if isinstance(within, list) else ()
    for key, inner in items:
        yield from ((key, *rest) for rest in _places_of(value, inner))


def _at(place: Place, within: Json) -> Json:
    """What lies at a place; None where nothing does yet."""
    try:
        for key in place:
            within = within[key]
    except (KeyError, IndexError, TypeError):
        return None
    return within
