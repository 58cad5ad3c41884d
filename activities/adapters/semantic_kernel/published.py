"""The JSON Schema of definitions, as it is published. Pure."""

from __future__ import annotations

from typing import Any

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.schema import (
    LEFT_OUT,
    ORCHESTRATIONS,
    AgentFields,
    FunctionFields,
    ModelFields,
    Options,
    Part,
)

_TOOL: JsonObject = {
    "description": "The name of a registered tool.",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "type": {"const": "function"}},
        },
    ],
}


_NESTED: dict[str, type[Part]] = {"ModelFields": ModelFields, "Options": Options}


def json_schema() -> JsonObject:
    """Agents with an orchestration, functions, or one of them alone. Spellings that are only understood are not listed."""
    definitions: dict[str, Any] = {"tool": _TOOL}
    agent = _part(AgentFields, definitions)
    agent["properties"]["template"] = {"type": "object", "properties": {"format": {"type": "string"}}}
    function = _part(FunctionFields, definitions)
    for part in (agent, function):
        part["properties"]["execution_settings"] = {"type": "object"}
        part["properties"]["tools"] = {"type": "array", "items": {"$ref": "#/$defs/tool"}}
    kinds = {name: _part(model, definitions) for name, model in ORCHESTRATIONS.items()}
    for kind in kinds.values():
        kind["required"] = sorted({"type", *kind.get("required", ())})
    manager = kinds["group_chat"]["properties"]["manager"]
    kinds["group_chat"]["properties"]["manager"] = {"anyOf": [{"enum": ["round_robin", "prompt"]}, manager]}
    definitions |= {"agent": agent, "function": function, **kinds}
    orchestration = {"anyOf": [{"enum": list(kinds)}, *({"$ref": f"#/$defs/{name}"} for name in kinds)]}
    document = {"name": {"type": "string"}, "description": {"type": "string"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Semantic Kernel agents or prompt functions",
        "anyOf": [
            {
                "type": "object",
                "properties": {**document, "agents": _named("agent"), "orchestration": orchestration},
                "required": ["agents"],
            },
            {"type": "object", "properties": {**document, "functions": _named("function")}, "required": ["functions"]},
            {"$ref": "#/$defs/agent"},
            {"$ref": "#/$defs/function"},
        ],
        "$defs": definitions,
    }


def _named(part: str) -> JsonObject:
    item = {"$ref": f"#/$defs/{part}"}
    without_name = {"type": "object", "description": f"By name: {part}s as objects, without their `name`."}
    return {
        "anyOf": [
            {"type": "array", "items": item, "minItems": 1},
            {"type": "object", "additionalProperties": without_name, "minProperties": 1},
        ]
    }


def _part(model: type[Part], definitions: dict[str, Any]) -> JsonObject:
    """A part's schema with the fields that are accepted and left out; the parts inside go to `definitions`."""
    schema: dict[str, Any] = model.model_json_schema()
    for name, inner in schema.pop("$defs", {}).items():
        definitions[name] = _with_left_out(_NESTED.get(name), inner)
    return _with_left_out(model, schema)


def _with_left_out(model: type[Part] | None, schema: dict[str, Any]) -> JsonObject:
    if model is not None:
        for name, note in LEFT_OUT.get(model, {}).items():
            schema["properties"].setdefault(name, {"description": note or "Accepted, without effect."})
    return schema
