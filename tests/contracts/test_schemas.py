"""JSON Schemas of users: what is told about wrong ones, what fits them, and that none keeps a process busy."""

from __future__ import annotations

from typing import Any

import pytest

from activities.schemas import fit_problems, schema_problems
from tests.support.effort import cpu_seconds

_DOUBLING = {
    "$ref": "#/$defs/0",
    "$defs": {"40": {}, **{str(i): {"allOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2} for i in range(40)}},
}


@pytest.mark.parametrize(
    ("schema", "path", "told"),
    [
        ({"type": "banana"}, "schema.type", "banana"),
        ({"properties": {"a": 3}}, "schema.properties.a", "3"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "schema.properties.a.$ref", "#/$defs/b"),
        ({"$ref": "https://example.com/schema"}, "schema.$ref", "not in this schema"),
        ({"anyOf": [{}, {"pattern": "("}]}, "schema.anyOf[1].pattern", "no regular expression"),
        ({"pattern": "(?=a)b"}, "schema.pattern", "look-around"),
        ({"pattern": r"(a)\1"}, "schema.pattern", "back-references"),
        ({"patternProperties": {"[": {}}}, "schema.patternProperties.[", "no regular expression"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "schema.unevaluatedProperties", "patternP"),
    ],
)
def test_schema_that_cannot_be_used(schema: dict[str, Any], path: str, told: str) -> None:
    (problem,) = schema_problems(schema, "schema")
    assert problem.path == path
    assert told in problem.message


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}},
        {"enum": [{"pattern": "("}], "default": {"$ref": "#/nowhere"}},
        {"$defs": {"a": {"pattern": r"^\p{L}+@\w+\.\w{2,}$"}}, "$ref": "#/$defs/a"},
    ],
)
def test_schema_that_can_be_used(schema: dict[str, Any]) -> None:
    assert schema_problems(schema, "schema") == []


@pytest.mark.parametrize(
    ("schema", "value", "paths"),
    [
        ({"required": ["a", "b"]}, {"a": 1}, ["v.b"]),
        ({"properties": {"a": {"items": {"type": "integer"}}}}, {"a": [1, "x", 2, None]}, ["v.a[1]", "v.a[3]"]),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1, "b": 2}, ["v.b"]),
        ({"additionalProperties": {"type": "string"}}, {"a": 1}, ["v.a"]),
        ({"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": False}, {"x1": 1, "y": 2}, ["v.x1", "v.y"]),
        ({"pattern": "^[a-z]+$"}, "abc1", ["v"]),
        ({"pattern": "b"}, "abc", []),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}], ["v"]),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}], []),
        ({"type": "object"}, "text", ["v"]),
    ],
)  # fmt: skip
def test_fit(schema: dict[str, Any], value: Any, paths: list[str]) -> None:
    assert schema_problems(schema, "s") == []
    assert [problem.path for problem in fit_problems(value, schema, "v")] == paths


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (_DOUBLING, 1),
        ({"$ref": "#"}, 1),
        ({"$ref": "#/$defs/0", "$defs": _DOUBLING["$defs"], "unevaluatedProperties": False}, {"a": 1}),
        ({"pattern": "^(a+)+$"}, "a" * 50_000 + "!"),
        ({"uniqueItems": True, "minItems": 30_000}, [{"a": index} for index in range(20_000)]),
    ],
    ids=["doubling references", "a reference to itself", "unevaluated", "a greedy pattern", "many items"],
)
def test_nothing_takes_long(schema: dict[str, Any], value: Any) -> None:
    assert schema_problems(schema, "s") == []
    problems: list[Any] = []
    assert cpu_seconds(lambda: problems.extend(fit_problems(value, schema, "v"))) < 20
    assert problems


def test_pattern_that_cannot_be_used_is_told_and_not_tried() -> None:
    (problem,) = fit_problems("ab", {"pattern": "(?=a)b"}, "v")
    assert (problem.path, "look-around" in problem.message) == ("v", True)
