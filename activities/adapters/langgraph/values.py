"""What state fields hold: their types, their first values, and how a written value meets the present one. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from activities.adapters.langgraph.spec import FieldType, GraphDefinition, Reducer, StateField

_EMPTY: dict[FieldType, Callable[[], Any]] = {
    "string": str,
    "number": int,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "any": lambda: None,
}

#: Types that a reducer can work on.
REDUCER_TYPES: dict[Reducer, frozenset[FieldType]] = {
    "append": frozenset({"array"}),
    "merge": frozenset({"object"}),
    "add": frozenset({"number", "integer"}),
}

_ARTICLES = {"array": "an array", "object": "an object", "integer": "an integer", "string": "a text"}


class WrongValue(ValueError):
    """A value does not fit its field; the message says how, without naming the field."""


def type_name(value: object) -> str:
    """The type of a JSON value, with its article, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "an array" if isinstance(value, list) else "an object"


def wanted(kind: FieldType) -> str:
    """A type with its article, for messages."""
    return _ARTICLES.get(kind, f"a {kind}")


def fits(kind: FieldType, value: object) -> bool:
    """Whether a JSON value has the type."""
    match kind:
        case "any":
            return True
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def mismatch(field: StateField, value: object) -> str | None:
    """What is wrong with a whole value for a field; None when it fits."""
    if fits(field.kind, value):
        return None
    return f"Must be {wanted(field.kind)}, but is {type_name(value)}."


def first_value(field: StateField) -> Any:
    """The value before the first step where no input gives one."""
    return _EMPTY[field.kind]() if field.default is None else field.default


def first_values(graph: GraphDefinition, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The state before the first step: the inputs named like a field, else the fields' defaults."""
    return {name: inputs.get(name, first_value(field)) for name, field in graph.state.items()}


def written(field: StateField, value: Any) -> Any:
    """A value as it is written into a field.

    Text is read as JSON where the field is none; other values become text where it is; a value for an array that is
    appended to becomes an array of one. Raises `WrongValue`.
    """
    if field.reducer == "append":
        # An appended text stays a text: what else it could be is not for us to guess.
        return value if isinstance(value, list) else [value]
    kind = field.kind
    if fits(kind, value):
        return value
    if kind == "string":
        return as_text(value)
    if isinstance(value, str):
        value = _read_json(kind, value)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if not fits(kind, value):
        raise WrongValue(f"must be {wanted(kind)}, but is {type_name(value)}")
    return value


def as_text(value: Any) -> str:
    """A JSON value as text: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def loads(text: str) -> Any:
    """Reads JSON, also inside a fenced code block as models like to write it. NaN and Infinity are no JSON."""
    body = text.strip()
    if body.startswith("```"):
        body = body.removesuffix("```").partition("\n")[2]
    return json.loads(body, parse_constant=_no_json)


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_json(kind: FieldType, text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        # Without the text: errors are read in places where what a model said has no business.
        raise WrongValue(f"must be {wanted(kind)}, but is a text that is no JSON") from None


def _append(present: list[Any], new: list[Any]) -> list[Any]:
    return present + new


def _merge(present: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**present, **new}


def _add(present: float, new: float) -> float:
    total = present + new
    if not math.isfinite(total):
        raise WrongValue("the sum is too large for a number")
    return total


#: (present value, written value) -> next value; `replace` has none.
REDUCERS: dict[Reducer, Callable[[Any, Any], Any]] = {"append": _append, "merge": _merge, "add": _add}
