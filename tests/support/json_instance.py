"""The smallest valid instance of a JSON Schema: what the scripted model answers when a structure is asked for.

Deterministic, and valid for the schemas that agent frameworks send (pydantic's output and strict OpenAI schemas).
`pattern` is not solved: a test that needs one scripts its answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def smallest_instance(schema: Mapping[str, Any] | bool) -> Any:
    """An instance that holds only what the schema requires; numbers near zero, strings and arrays as short as allowed."""
    if isinstance(schema, bool):
        return None
    return _Builder(schema).build(schema)


class _Builder:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def build(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return None
        schema = self._merged(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for choice in ("anyOf", "oneOf"):
            if schema.get(choice):
                rest = {key: value for key, value in schema.items() if key != choice}
                return self.build({**rest, **self._merged(schema[choice][0])})
        kind = schema.get("type") or ("object" if "properties" in schema else "null")
        return self._of_type(kind[0] if isinstance(kind, list) else kind, schema)

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema with its `$ref` followed and its `allOf` folded in."""
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        if "$ref" in schema:
            merged = {**self._merged(self._follow(schema["$ref"])), **merged}
        for part in schema.get("allOf", ()):
            folded = self._merged(part)
            merged["properties"] = {**merged.get("properties", {}), **folded.pop("properties", {})}
            merged["required"] = [*merged.get("required", ()), *folded.pop("required", ())]
            merged = {**folded, **merged}
        return merged

    def _follow(self, reference: str) -> Mapping[str, Any]:
        target: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                target = target[part.replace("~1", "/").replace("~0", "~")]
        return target  # type: ignore[no-any-return]

    def _of_type(self, kind: str, schema: Mapping[str, Any]) -> Any:
        match kind:
            case "object":
                properties = schema.get("properties", {})
                return {
                    name: self.build(properties.get(name, {})) for name in dict.fromkeys(schema.get("required", ()))
                }
            case "array":
                return self._array(schema)
            case "string":
                return _FORMATS.get(schema.get("format", ""), "x" * schema.get("minLength", 0))
            case "integer":
                return math.ceil(_number(schema, step=1))
            case "number":
                return _number(schema, step=0.5)
            case "boolean":
                return False
            case _:
                return None

    def _array(self, schema: Mapping[str, Any]) -> list[Any]:
        fixed = [self.build(item) for item in schema.get("prefixItems", ())]
        missing = schema.get("minItems", 0) - len(fixed)
        return fixed + [self.build(schema.get("items", {})) for _ in range(missing)]


def _number(schema: Mapping[str, Any], step: float) -> Any:
    """Zero where it is allowed, otherwise the allowed number that lies nearest."""
    low, above = schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf)
    high, below = schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf)
    multiple = schema.get("multipleOf")
    value: Any = 0
    if above >= value:
        value = above + step
    value = max(value, low)
    if below <= value:
        value = below - step
    value = min(value, high)
    return math.ceil(value / multiple) * multiple if multiple else value
