"""The JSON Schema of definitions, made from the shapes in `schema`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from activities.adapters.autogen import conditions, schema
from activities.adapters.base import JsonObject

#: Fields that hold further components, and the definition of each.
_HOLD = {
    "model_client": "model_client",
    "model_context": "model_context",
    "termination_condition": "termination_condition",
    "structured_message_factory": "structured_message_factory",
}


def definition_schema() -> JsonObject:
    """A team or an agent, plain or inside the wrappings of an export."""
    definitions: dict[str, Any] = {
        "model_client": _component(dict.fromkeys(schema.MODELS, schema.ModelConfig)),
        "model_context": _component(conditions.CONTEXT_CONFIGS),
        "termination_condition": _component(conditions.CONDITIONS),
        "structured_message_factory": _component(dict.fromkeys(schema.FACTORIES, schema.StructuredOutput)),
        "tool": _tool(),
        "assistant": _component({"AssistantAgent": schema.AssistantConfig}),
        "participant": _component({"AssistantAgent": schema.AssistantConfig, "UserProxyAgent": schema.UserProxyConfig}),
        "team": _component(schema.TEAM_CONFIGS),
    }
    for body in list(definitions.values()):
        _lift(body, definitions)
    gallery = {"type": "object", "properties": {"components": {"type": "object"}}, "required": ["components"]}
    root = {"anyOf": [{"$ref": "#/$defs/team"}, {"$ref": "#/$defs/assistant"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AutoGen team",
        "type": "object",
        "anyOf": [
            *root["anyOf"],
            {"type": "object", "properties": {"component": root}, "required": ["component"]},
            {
                "type": "object",
                "properties": {"teams": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 1}},
                "required": ["teams"],
            },
            gallery,
            {"type": "object", "properties": {"config": gallery}, "required": ["config"]},
            {"type": "object", "properties": {"team_type": {"enum": list(schema.TEAMS)}}, "required": ["team_type"]},
        ],
        "$defs": definitions,
    }


def _component(kinds: dict[str, type[Any]]) -> JsonObject:
    choices = [
        {
            "type": "object",
            "properties": {"provider": _provider([kind]), "config": _config(config)},
            "required": ["provider", *(["config"] if config.model_json_schema().get("required") else [])],
        }
        for kind, config in kinds.items()
    ]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _provider(kinds: Iterable[str]) -> JsonObject:
    kinds = list(kinds)
    names = [*kinds, *(alias for alias, kind in schema.ALIASES.items() if kind in kinds)]
    return {"type": "string", "pattern": rf"^(.+\.)?({'|'.join(names)})$"}


def _config(model: type[Any]) -> JsonObject:
    body: JsonObject = model.model_json_schema()
    properties = body.get("properties", {})
    for name, definition in _HOLD.items():
        if name in properties:
            properties[name] = {"anyOf": [{"$ref": f"#/$defs/{definition}"}, {"type": "null"}]}
    for name, items in (("participants", "participant"), ("conditions", "termination_condition")):
        if name in properties:
            properties[name]["items"] = {"$ref": f"#/$defs/{items}"}
    if "tools" in properties:
        tools = {"type": "array", "items": {"$ref": "#/$defs/tool"}}
        properties["tools"] = {"anyOf": [tools, {"type": "null"}]}
    return body


def _tool() -> JsonObject:
    named = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return {
        "description": "The name of a registered tool. Source code in a tool is never executed.",
        "anyOf": [
            {"type": "string"},
            named,
            {
                "type": "object",
                "properties": {"provider": _provider(schema.TOOLS), "config": named},
                "required": ["provider", "config"],
            },
        ],
    }


def _lift(value: Any, definitions: dict[str, Any]) -> None:
    """Moves the definitions inside a schema to the root's, where its references point."""
    if isinstance(value, dict):
        definitions |= value.pop("$defs", {})
        for item in value.values():
            _lift(item, definitions)
    elif isinstance(value, list):
        for item in value:
            _lift(item, definitions)
