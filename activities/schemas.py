"""JSON Schemas that users send: are they schemas, and does something fit them?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from activities.schema_validator import OFFLINE, TooMuchWork, bounded, pattern_matcher, validation
from omium_core.errors import Problem

MOST_PROBLEMS = 20

#: Patterns are judged by the matcher that they are for.
_NO_FORMATS = FormatChecker(())

#: Keywords whose value is data, and those whose value is a map of schemas by names.
_DATA = frozenset({"const", "enum", "default", "examples"})
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def schema_problems(schema: dict[str, Any], path: str) -> list[Problem]:
    """Why something is no JSON Schema (draft 2020-12) that can be used here.

    Also told are references that lead nowhere, and patterns with look-around: these can keep a matcher busy for ever.
    """
    try:
        Draft202012Validator.check_schema(schema, format_checker=_NO_FORMATS)
    except SchemaError as error:
        return [Problem(join(path, error.absolute_path), error.message[:300])]
    except RecursionError:
        return [Problem(path, "is nested too deeply")]
    resolver = OFFLINE.with_resource("", Resource.from_contents(schema, default_specification=DRAFT202012)).resolver("")
    problems = []
    parts = list(_parts(schema, path))
    if any("patternProperties" in part for _, part in parts):
        # the library matches these patterns by itself then, in its own time
        together = [where for where, part in parts if "unevaluatedProperties" in part]
        problems += [
            Problem(f"{where}.unevaluatedProperties", "cannot stand with patternProperties") for where in together
        ]
    for where, part in parts:
        for key in ("$ref", "$dynamicRef"):
            if key in part:
                try:
                    resolver.lookup(part[key])
                except Unresolvable:
                    problems.append(Problem(f"{where}.{key}", f"refers to {part[key]!r}, which is not in this schema"))
        problems += _pattern_problems(part, where)
    return problems


def fit_problems(value: Any, schema: dict[str, Any], path: str) -> list[Problem]:
    """Where a value does not fit a schema; paths from `path`. Takes about a second at most."""
    problems: list[Problem] = []
    try:
        with bounded():
            for error in validation(schema).iter_errors(value):
                problems += _as_problems(error, path)
                if len(problems) >= MOST_PROBLEMS:
                    break
    except TooMuchWork:
        return [Problem(path, "takes too long to be held against its schema")]
    except ValueError as error:
        return [Problem(path, f"cannot be held against its schema: {error}")]
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


def _pattern_problems(part: dict[str, Any], path: str) -> Iterator[Problem]:
    patterns = {f"{path}.patternProperties.{pattern}": pattern for pattern in part.get("patternProperties", ())}
    if "pattern" in part:
        patterns[f"{path}.pattern"] = part["pattern"]
    for where, pattern in patterns.items():
        try:
            pattern_matcher(pattern)
        except ValueError as error:
            yield Problem(where, str(error))


def _parts(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and the schemas inside it, with their paths."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for key, inner in schema.items():
        where = f"{path}.{key}"
        if key in _DATA:
            continue
        if key in _BY_NAME and isinstance(inner, dict):
            for name, part in inner.items():
                yield from _parts(part, f"{where}.{name}")
        elif isinstance(inner, list):
            for index, part in enumerate(inner):
                yield from _parts(part, f"{where}[{index}]")
        else:
            yield from _parts(inner, where)
