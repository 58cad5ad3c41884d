"""How a call is undone: which tools change the world, and what their inverses are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from activities.adapters.base import Json, JsonObject, ToolFailed
from activities.tools.functions import Tool
from omium_core.errors import ConfigurationError

#: Parameters of an inverse that are given the whole result, and all arguments, of the call that it undoes.
RESULT, ARGUMENTS = "result", "arguments"


@dataclass(frozen=True)
class Nature:
    """What a call does to the world. Without an `inverse`, a reversible one needs nothing to be undone."""

    reversible: bool
    inverse: str | None


def check_inverse(tool: Tool, inverse: Tool) -> None:
    """`ConfigurationError` if the inverse needs what no call of the tool can give it."""
    if tool.reversible is False:
        raise ConfigurationError(f"The tool {tool.name!r} has an inverse and says that it is not reversible.")
    fields = _result_fields(tool)
    known = {RESULT, ARGUMENTS, *tool.parameters["properties"]}
    for name in inverse.parameters.get("required", ()):
        if name not in known and fields is not None and name not in fields:
            raise ConfigurationError(
                f"The tool {tool.name!r} is undone by {inverse.name!r}, whose parameter {name!r} is neither an argument "
                f"of {tool.name!r} nor a field of its result."
            )


def bound_arguments(tool: Tool | None, inverse: Tool, arguments: JsonObject, result: Json) -> JsonObject:
    """What an inverse is called with. `tool` is the one that is undone, if it is still registered.

    `ToolFailed` names the parameter that nothing can be found for.
    """
    given = {**_defaults(tool), **arguments}
    found: JsonObject = {}
    for name in inverse.parameters["properties"]:
        if name == RESULT:
            found[name] = result
        elif name == ARGUMENTS:
            found[name] = arguments
        elif name in given:
            found[name] = given[name]
        elif isinstance(result, Mapping) and name in result:
            found[name] = result[name]
        elif name in inverse.parameters.get("required", ()):
            raise ToolFailed(
                f"{inverse.name} needs {name!r}, which is neither an argument of the call nor a field of its result."
            )
    return found


def _defaults(tool: Tool | None) -> JsonObject:
    properties = tool.parameters["properties"] if tool is not None else {}
    return {name: schema["default"] for name, schema in properties.items() if "default" in schema}


def _result_fields(tool: Tool) -> frozenset[str] | None:
    """The fields that the result has by its annotation, or None where the annotation does not tell."""
    hint = get_type_hints(tool.func, include_extras=True).get("return", Any)
    try:
        schema: Mapping[str, Any] = TypeAdapter(hint).json_schema(mode="serialization")
    except (PydanticUserError, NameError, TypeError):
        return None
    kind = schema.get("type")
    if kind == "object":
        return frozenset(schema["properties"]) if "properties" in schema else None
    return None if kind is None else frozenset()
