"""JSON Schemas that users send: are they schemas, and do inputs fit them?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from omium_core.errors import Problem

#: An empty registry: nothing is ever fetched to resolve a reference.
_OFFLINE: Registry[Any] = Registry()
MOST_PROBLEMS = 20


def schema_problems(schema: dict[str, Any], path: str) -> list[Problem]:
    """Why something is no JSON Schema (draft 2020-12), including references that lead nowhere."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [Problem(join(path, error.absolute_path), error.message[:300])]
    resolver = _OFFLINE.with_resource("", Resource.from_contents(schema, default_specification=DRAFT202012)).resolver(
        ""
    )
    problems = []
    for where, reference in _references(schema, path):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            problems.append(Problem(where, f"refers to {reference!r}, which is not in this schema"))
    return problems


def fit_problems(value: Any, schema: dict[str, Any], path: str) -> list[Problem]:
    """Where a value does not fit a schema; paths from `path`."""
    validator = Draft202012Validator(schema, registry=_OFFLINE)
    problems = []
    for error in validator.iter_errors(value):
        problems += _as_problems(error, path)
        if len(problems) >= MOST_PROBLEMS:
            break
    return problems


def _as_problems(error: ValidationError, path: str) -> list[Problem]:
    where = join(path, error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict) and isinstance(error.validator_value, list):
        missing = [name for name in error.validator_value if name not in error.instance]
        # the library reports each missing field on its own, in this order
        named = next((name for name in missing if repr(name) in error.message), missing[0])
        return [Problem(f"{where}.{named}", "is required")]
    return [Problem(where, error.message[:300])]


def join(path: str, parts: Any) -> str:
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def _references(schema: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(schema, dict):
        for key, inner in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(inner, str):
                yield f"{path}.{key}", inner
            else:
                yield from _references(inner, f"{path}.{key}")
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from _references(inner, f"{path}[{index}]")
