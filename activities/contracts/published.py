"""The JSON Schema of a framework's definitions together with the sections that all frameworks have."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import TypeAdapter

from activities.adapters.base import JsonObject
from activities.contracts.reading import MAX_ENTRIES
from activities.contracts.spec import Approval, Checkpoint, Handoff
from activities.policies.reading import policy_schemas

_DESCRIPTIONS = {
    "checkpoints": "Conditions and schemas of outputs: what must be true of a step, else it has failed.",
    "approvals": "Questions to people before or after a step.",
    "handoffs": "Votes that are held before a step takes over from the one before.",
}
_REFERENCE = "#/$defs/"


def published(schema: JsonObject) -> JsonObject:
    """A framework's schema, with the sections wherever it describes a whole definition. What it has itself stays."""
    sections, parts = _sections()
    found = _opened(schema, schema.get("$defs", {}), sections)
    found["properties"] = {**found.get("properties", {}), **sections, **schema.get("properties", {})}
    found["$defs"] = {**parts, **schema.get("$defs", {})}
    return found


@functools.cache
def _sections() -> tuple[JsonObject, JsonObject]:
    """The properties, and the definitions that they refer to, under names of their own."""
    properties: JsonObject = {}
    parts: JsonObject = {}
    for name, model in (("checkpoints", Checkpoint), ("approvals", Approval), ("handoffs", Handoff)):
        entry, its_parts = _embedded(TypeAdapter[Any](model).json_schema(by_alias=True))
        parts.update(its_parts)
        properties[name] = {
            "type": "array",
            "maxItems": MAX_ENTRIES,
            "description": _DESCRIPTIONS[name],
            "items": entry,
        }
    properties["policies"], its_parts = _embedded(policy_schemas()["definition"])
    parts.update(its_parts)
    return properties, parts


def _embedded(schema: JsonObject) -> tuple[JsonObject, JsonObject]:
    """A schema without its definitions and dialect, and its definitions as `contract.<name>`."""
    own = {key: _renamed(value) for key, value in schema.items() if key not in ("$defs", "$schema")}
    return own, {f"contract.{name}": _renamed(part) for name, part in schema.get("$defs", {}).items()}


def _renamed(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: f"{_REFERENCE}contract.{value.removeprefix(_REFERENCE)}"
            if key == "$ref" and isinstance(value, str)
            else _renamed(value)
            for key, value in part.items()
        }
    return [_renamed(item) for item in part] if isinstance(part, list) else part


def _opened(schema: JsonObject, parts: JsonObject, sections: JsonObject) -> JsonObject:
    """The schema of a definition that may have the sections as well; references are resolved where they would forbid it."""
    found = dict(schema)
    for key in ("anyOf", "oneOf"):
        if key in found:
            found[key] = [_opened(_resolved(one, parts), parts, sections) for one in found[key]]
    if found.get("additionalProperties") is False:
        found["properties"] = {**dict.fromkeys(sections, True), **found.get("properties", {})}
    return found


def _resolved(schema: JsonObject, parts: JsonObject) -> JsonObject:
    name = schema.get("$ref", "").removeprefix(_REFERENCE)
    part = parts.get(name)
    return part if part is not None and part.get("additionalProperties") is False else schema
