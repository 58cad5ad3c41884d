"""Reads parts of a definition: the fields of an agent, a function, a model, with every problem by its path. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from activities.adapters.semantic_kernel.schema import LEFT_OUT, REFUSED, InputFields, ModelFields, Options, Part
from omium_core.errors import Problem

P = TypeVar("P", bound=Part)
Keys = tuple[str | int, ...]

#: What a field that is switched off holds.
NOTHING: Final[tuple[Any, ...]] = (None, False, [], {}, "")

#: How Semantic Kernel's files leave a value to the settings of the program that loads them: `${OpenAI:ChatModelId}`.
_PLACEHOLDER: Final = re.compile(r"\$\{[^{}]*\}")


def path_of(keys: Keys) -> str:
    """`("agents", 0, "name")` as `agents[0].name`."""
    path = ""
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else join(path, key)
    return path


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def are_names(value: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


class PartReader:
    """Collects the problems and warnings of the parts that it reads."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def part(self, model: type[P], body: Mapping[str, Any], path: str) -> P:
        kept = self._without_left_out(model, body, path)
        for name in ("model", "manager"):
            nested = kept.get(name)
            if isinstance(nested, Mapping):
                kept[name] = (
                    self._nested_model(nested, join(path, name)) if name == "model" else self._manager(nested, path)
                )
        inputs = kept.get("inputs")
        if isinstance(inputs, Mapping):
            kept["inputs"] = {key: self._input(value, join(path, f"inputs.{key}")) for key, value in inputs.items()}
        try:
            return model.model_validate(kept)
        except ValidationError as error:
            self.problems.extend(_problems(error, model, path))
            wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
            # What is left is kept, so that its references are judged as well.
            rest: Any = {name: value for name, value in kept.items() if name not in wrong}
            return cast("P", model.model_construct(**rest))

    def _manager(self, body: Mapping[str, Any], path: str) -> dict[str, Any]:
        kept = dict(body)
        if isinstance(kept.get("model"), Mapping):
            kept["model"] = self._nested_model(kept["model"], join(path, "manager.model"))
        return kept

    def _nested_model(self, body: Mapping[str, Any], path: str) -> dict[str, Any]:
        kept = self._without_left_out(ModelFields, body, path)
        name = kept.get("id")
        if isinstance(name, str) and _PLACEHOLDER.fullmatch(name):
            kept.pop("id")
            self.warnings.append(
                f"{join(path, 'id')}: {name} names a setting of another program; the default model is asked."
            )
        if isinstance(kept.get("options"), Mapping):
            kept["options"] = self._without_left_out(Options, kept["options"], join(path, "options"))
        return kept

    def _input(self, value: Any, path: str) -> Any:
        return self._without_left_out(InputFields, value, path) if isinstance(value, Mapping) else {"default": value}

    def _without_left_out(self, model: type[Part], body: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The body without refused and ignored fields; switched off (null, false, empty) they are no matter."""
        refused, left_out = REFUSED.get(model, {}), LEFT_OUT.get(model, {})
        kept: dict[str, Any] = {}
        for name, value in body.items():
            if name in refused:
                if value not in NOTHING and not (name == "plugins" and are_names(value)):
                    self.problem(join(path, name), f"{name} {refused[name]}.")
            elif name in left_out:
                if left_out[name] is not None and value not in NOTHING:
                    self.warnings.append(f"{join(path, name)}: {left_out[name]}.")
            else:
                kept[name] = value
        return kept


def _problems(error: ValidationError, model: type[Part], path: str) -> Iterator[Problem]:
    """Pydantic's errors in our words, one per field."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        location = [part for part in item["loc"] if not _names_a_choice(part)]
        where = path
        for part in location:
            where = f"{where}[{part}]" if isinstance(part, int) else join(where, str(part))
        found.setdefault(where, _message(item["type"], item["msg"], location, model))
    for where, message in found.items():
        # Of the members of a union, the one that came furthest is the one that was meant.
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found):
            yield Problem(where, message)


def _names_a_choice(part: str | int) -> bool:
    """Whether a part of a location names a member of a union, and no field."""
    return isinstance(part, str) and (part in _CHOICES or part.startswith(("list[", "dict[", "literal[")))


_CHOICES: Final = frozenset({"str", "bool", "ModelFields", "FunctionChoice"})


def _message(kind: str, message: str, location: list[str | int], model: type[Part]) -> str:
    if kind == "missing":
        return "This field is required."
    if kind == "extra_forbidden":
        known = [*model.model_fields, *LEFT_OUT.get(model, {})] if len(location) == 1 else []
        return f"Unknown field {location[-1]!r}{did_you_mean(str(location[-1]), known)}"
    return f"{message}."
