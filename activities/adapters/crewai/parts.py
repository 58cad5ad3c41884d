"""Reads one part of a definition (an agent, a task, a method) into its model, and tells what is wrong or left out in our words. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from activities.adapters.crewai.schema import LEFT_OUT, REFUSED, LLMSpec, Part, PlanningSpec
from omium_core.errors import Problem

T = TypeVar("T", bound=Part)

#: Fields that hold a further part with fields of its own.
_NESTED: dict[str, type[LLMSpec | PlanningSpec]] = {
    "llm": LLMSpec,
    "manager_llm": LLMSpec,
    "planning_config": PlanningSpec,
}
_SCHEMA_FIELDS = ("output_json", "output_pydantic", "response_model")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


class PartReader:
    """Reads the parts of a definition: what each kind refuses and leaves out is told by `refused` and `left_out`."""

    refused: Mapping[type[Part], Mapping[str, str]] = REFUSED
    left_out: Mapping[type[Part], Mapping[str, str | None]] = LEFT_OUT

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def problem(self, path: str, message: str) -> None:
        """Notes what is wrong with the field at `path`."""
        self.problems.append(Problem(path, message))

    def part(self, model: type[T], body: Any, path: str, also_known: Iterable[str] = ()) -> T | None:
        """The part as read, as far as it is right; None for what is no object."""
        if not isinstance(body, Mapping):
            self.problem(path, "This must be an object.")
            return None
        body = self._without_left_out(model, body, path)
        for name, nested in _NESTED.items():
            if isinstance(body.get(name), Mapping):
                body[name] = self._without_left_out(nested, body[name], _join(path, name))
        self._check_code(body, path)
        try:
            return model.model_validate(body)
        except ValidationError as error:
            self.problems.extend(_problems(error, model, path, [*self.left_out.get(model, {}), *also_known]))
            wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
            # What is left is kept, so that its references are judged as well.
            kept = {name: value for name, value in body.items() if name not in wrong}
            # To mypy's plugin of pydantic this makes a `Part`, whatever the model.
            return cast("T", model.model_construct(**kept))

    def _without_left_out(self, model: type[Part], body: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The body without refused and ignored fields; switched off (null, false, empty) they are no matter."""
        refused, left_out = (
            self.refused.get(model, {}),
            self.left_out.get(model, {}),
        )
        kept: dict[str, Any] = {}
        for name, value in body.items():
            if name in refused:
                if value not in (None, False, [], {}, ""):
                    self.problem(_join(path, name), f"{name} {refused[name]}.")
            elif name in left_out:
                if left_out[name] is not None and value not in (
                    None,
                    False,
                    [],
                    {},
                    "",
                ):
                    self.warn(f"{_join(path, name)}: {left_out[name]}.")
            else:
                kept[name] = value
        return kept

    def warn(self, warning: str) -> None:
        """Notes what is accepted and left out."""
        self.warnings.append(warning)

    def _check_code(self, body: dict[str, Any], path: str) -> None:
        """Refuses references to code where text or a schema is allowed; such a value is taken out of the body."""
        message = "This names Python code, and code inside a definition is never executed; "
        for name in (
            "guardrail",
            "guardrails",
            "manager_agent",
            "manager_llm",
            "llm",
            "type",
        ):
            if _is_code(body.get(name)):
                self.problem(_join(path, name), f"{message}say it in words or leave it out.")
                body.pop(name)
        guardrails = body.get("guardrails")
        if isinstance(guardrails, list) and any(map(_is_code, guardrails)):
            index = [_is_code(item) for item in guardrails].index(True)
            self.problem(_join(path, f"guardrails[{index}]"), f"{message}say it in words.")
            body.pop("guardrails")
        for name in _SCHEMA_FIELDS:
            if isinstance(body.get(name), str) or _is_code(body.get(name)):
                self.problem(
                    _join(path, name),
                    f"{message}give the JSON Schema of the answer instead.",
                )
                body.pop(name)
        tools = body.get("tools")
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            if not isinstance(tool, str) or ":" in tool:
                self.problem(
                    _join(path, f"tools[{index}]"),
                    "A tool is named, as in 'calculator', from the tools that the operator registered; "
                    "`custom:`, `platform:` and `module:Class` references and tool objects are code, and are not loaded.",
                )
                body["tools"] = []


def _is_code(value: Any) -> bool:
    return isinstance(value, Mapping) and "python" in value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _problems(error: ValidationError, model: type[Part], path: str, also_known: Iterable[str]) -> Iterator[Problem]:
    """Pydantic's errors in our words, one per field."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        location = [part for part in item["loc"] if not _names_a_choice(part)]
        where = path
        for part in location:
            where = f"{where}[{part}]" if isinstance(part, int) else _join(where, part)
        found.setdefault(where, _message(item["type"], item["msg"], location, model, also_known))
    for where, message in found.items():
        # Of the members of a union, the one that came furthest is the one that was meant.
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found):
            yield Problem(where, message)


def _names_a_choice(part: str | int) -> bool:
    """Whether a part of a location names a member of a union, and no field."""
    return part in ("str", LLMSpec.__name__, "list[str]")


def _message(
    kind: str,
    message: str,
    location: list[str | int],
    model: type[Part],
    also_known: Iterable[str],
) -> str:
    if kind == "missing":
        return "This field is required."
    if kind == "extra_forbidden":
        owner: type[Part] = next((_NESTED[part] for part in location[:-1] if part in _NESTED), model)
        fields = [field.alias or name for name, field in owner.model_fields.items()]
        known = [*fields, *LEFT_OUT.get(owner, {}), *also_known]
        return f"Unknown field {location[-1]!r}{did_you_mean(str(location[-1]), known)}"
    return f"{message}."
