"""A JSON Schema validator for schemas and data that come from users: no pattern, no reference and no nesting keeps it busy.

Patterns are matched in linear time, without look-around; equal items are found by sorting; and every keyword that is
looked at counts towards a bound.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry

#: Keywords looked at in one validation; about a second.
MAX_KEYWORDS = 200_000

#: An empty registry: nothing is ever fetched to resolve a reference.
OFFLINE: Registry[Any] = Registry()

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_left: ContextVar[list[int]] = ContextVar("keywords that may still be looked at")


class TooMuchWork(Exception):
    """The validation takes too long."""


def validation(schema: Any) -> Any:
    """A validator for `schema`, to be used within `bounded()`."""
    return _Validator(schema, registry=OFFLINE)


@contextmanager
def bounded() -> Iterator[None]:
    """Raises `TooMuchWork` when what is validated inside takes too long, or recurses without an end."""
    token = _left.set([MAX_KEYWORDS])
    try:
        yield
    except RecursionError:
        raise TooMuchWork from None
    finally:
        _left.reset(token)


@functools.lru_cache(maxsize=512)
def pattern_matcher(pattern: str) -> SchemaValidator:
    """Matches texts that contain the pattern. `ValueError` with a sentence for a pattern that cannot be used."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as error:
        look_around = "look-around" in str(error) or "backreferences" in str(error)
        why = "uses look-around or back-references" if look_around else "is no regular expression, or too large"
        raise ValueError(f"the pattern {pattern[:100]!r} {why}") from None


def _counted(keyword: _Keyword) -> _Keyword:
    @functools.wraps(keyword)
    def look(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise TooMuchWork
        yield from keyword(validator, value, instance, schema) or ()

    return look


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance[:100]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, part in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, part, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [name for name in instance if name not in known and not any(_matches(one, name) for one in patterns)]
    if allowed is False:
        for name in extra:
            yield ValidationError("is not known", path=(name,))
    elif isinstance(allowed, Mapping):
        for name in extra:
            yield from validator.descend(instance[name], allowed, path=name)


def _unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if unique and isinstance(instance, list) and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError("has items that are equal")


def _canonical(value: Any) -> str:
    """Equal texts for values that are equal in JSON Schema: 1 and 1.0 are, 1 and true are not."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _matches(pattern: str, text: str) -> bool:
    return pattern_matcher(pattern).isinstance_python(text)


_KEYWORDS: dict[str, Any] = {
    **Draft202012Validator.VALIDATORS,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _counted(keyword) for name, keyword in _KEYWORDS.items()}
)
