"""Finds components in a definition and judges them one by one: provider, fields, and what is left out of them. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, TypeVar

from pydantic import ValidationError

from activities.adapters.autogen.schema import ALIASES, LEFT_OUT, PACKAGES, Part
from activities.adapters.base import JsonObject
from omium_core.errors import Problem

P = TypeVar("P", bound=Part)

#: How pydantic calls the members of unions in the location of an error.
_UNION_MEMBERS = ("str", "constrained-str", "Handoff", "list[str]")

#: Where a component of each kind named its class in the first exports of AutoGen Studio, which had no `provider`.
_OLD_KEYS = ("team_type", "agent_type", "model_type", "termination_type", "tool_type")


@dataclass(frozen=True)
class Component:
    """A component as it stands in a definition. `config_path` is where its fields are."""

    kind: str
    path: str
    config_path: str
    config: Mapping[str, Any]


@dataclass
class Notes:
    """What reading found: problems with the path of their field, and warnings."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def unwrap(definition: JsonObject, notes: Notes) -> tuple[tuple[str | int, ...], Any]:
    """The component inside the wrappings of exports, with the keys that lead to it.

    Exports of AutoGen Studio hold it under `component`, galleries in a list `teams` (under `components`, and that under
    `config`).
    """
    keys: tuple[str | int, ...] = ()
    value: Any = definition
    while isinstance(value, Mapping) and "provider" not in value and not any(key in value for key in _OLD_KEYS):
        inner = next((name for name in ("component", "components", "teams", "config") if name in value), None)
        if inner is None:
            break
        keys, value = (*keys, inner), value[inner]
        if inner == "teams":
            if not isinstance(value, list) or len(value) != 1:
                count = len(value) if isinstance(value, list) else 0
                notes.problem(path_of(keys), f"This holds {count} teams; a workflow is one team.")
                return keys, None
            keys, value = (*keys, 0), value[0]
    return keys, value


def path_of(keys: Iterable[str | int]) -> str:
    path = ""
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else join(path, key)
    return path


def component(value: Any, path: str, allowed: Iterable[str], what: str, notes: Notes) -> Component | None:
    """A component of one of the allowed classes; None after a problem was noted."""
    if not isinstance(value, Mapping):
        notes.problem(path, f"This must be {what}: an object with `provider` and `config`.")
        return None
    old = next((key for key in _OLD_KEYS if key in value), None)
    key = "provider" if "provider" in value or old is None else old
    provider = value.get(key)
    if not isinstance(provider, str) or not provider:
        notes.problem(join(path, key), f"This field is required: it names the class of {what}.")
        return None
    package, _, name = provider.rpartition(".")
    kind = ALIASES.get(name, name)
    allowed = tuple(allowed)
    if kind not in allowed or (package and package.partition(".")[0] not in PACKAGES):
        hint = did_you_mean(kind, allowed) if kind not in allowed else "."
        message = f"{provider[:200]!r} cannot be {what} here{hint} Allowed are: {', '.join(allowed)}."
        notes.problem(join(path, key), message)
        return None
    config, config_path = (value, path) if key != "provider" else (value.get("config", {}), join(path, "config"))
    if not isinstance(config, Mapping):
        notes.problem(config_path, "This must be an object.")
        return None
    return Component(kind, path, config_path, config)


def fields(model: type[P], config: Mapping[str, Any], path: str, notes: Notes) -> P | None:
    """A component's fields, with a warning for each that has no effect."""
    for name, value in config.items():
        if name in model.model_fields or value in (None, False, [], {}, "") or not isinstance(name, str):
            continue
        if name not in LEFT_OUT:
            notes.warn(f"{join(path, name)}: unknown field, left out{did_you_mean(name, model.model_fields)}")
        elif (told := LEFT_OUT[name]) is not None:
            notes.warn(f"{join(path, name)}: {told}.")
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        notes.problems.extend(_problems(error, path))
        return None


def _problems(error: ValidationError, path: str) -> Iterator[Problem]:
    """Pydantic's errors in our words, one per field."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        where = path
        # members of a union stand in the location too; fields and indices alone lead anywhere
        for part in (part for part in item["loc"] if part not in _UNION_MEMBERS):
            where = f"{where}[{part}]" if isinstance(part, int) else join(where, part)
        found.setdefault(where, "This field is required." if item["type"] == "missing" else f"{item['msg']}.")
    for where, message in found.items():
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found):
            yield Problem(where, message)


def check_template(text: str, known: Iterable[str], path: str, notes: Notes) -> None:
    """Whether a text can be formatted with these names, each written plainly: `{name}` and nothing more."""
    known = tuple(known)
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        notes.problem(path, f"This text cannot be filled in: {error}. Write {{{{ and }}}} for braces.")
        return
    for _, name, spec, conversion in parts:
        if name is not None and (name not in known or spec or conversion):
            names = ", ".join(f"{{{one}}}" for one in known)
            notes.problem(path, f"{{{name}}} cannot be filled in here. Known are {names}; write {{{{ for a brace.")
            return
