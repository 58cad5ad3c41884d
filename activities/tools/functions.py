"""From a Python function to a tool: the arguments' schema comes from the signature, the texts from the docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from activities.adapters.base import JsonObject
from omium_core.errors import ConfigurationError

#: The parameter that receives the idempotency key instead of an argument of the model.
KEY_PARAMETER = "idempotency_key"

#: What model providers accept as the name of a function.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Tool:
    """A function that agents may call; `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: JsonObject
    func: Callable[..., Any]
    is_async: bool
    wants_key: bool
    #: Turns JSON into the types of the signature.
    arguments: type[BaseModel]
    #: Whether a call can be undone; None where nothing is said, and calls change nothing.
    reversible: bool | None = None
    #: The tool that undoes a call: its name, or a function.
    inverse: str | Callable[..., Any] | None = None
    #: Tells calls that change nothing from the others, where not all of them do.
    harmless: Callable[[JsonObject], bool] | None = None

    def convert(self, arguments: JsonObject) -> dict[str, Any]:
        """Keyword arguments for `func`. `pydantic.ValidationError` for what the types refuse."""
        given = self.arguments.model_validate(arguments)
        fields = type(given).model_fields
        return {str(fields[name].alias): getattr(given, name) for name in given.model_fields_set}


def from_function(
    func: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    reversible: bool | None = None,
    inverse: str | Callable[..., Any] | None = None,
    harmless: Callable[[JsonObject], bool] | None = None,
) -> Tool:
    """The tool that a function is. `ConfigurationError` for a signature that no schema can describe."""
    name = name or func.__name__
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"The tool name {name!r} cannot be used: letters, digits, _ and -, at most 64 of them."
        )
    return _tool(
        func,
        name=name,
        description=description,
        reversible=reversible if inverse is None or reversible is not None else True,
        inverse=inverse,
        harmless=harmless,
    )


def undoing_function(func: Callable[..., Any], undone: str) -> Tool:
    """The tool that undoes another one and is not offered to models; no other tool can have its name."""
    return _tool(func, name=f"{undone}.undo")


def _tool(func: Callable[..., Any], *, name: str, description: str | None = None, **effect: Any) -> Tool:
    documentation = inspect.getdoc(func) or ""
    signature = inspect.signature(func)
    try:
        arguments = _arguments_model(name, func, signature, _parameter_texts(documentation))
        schema = arguments.model_json_schema(schema_generator=_PlainSchema)
    except (NameError, TypeError, PydanticUserError) as error:
        raise ConfigurationError(f"The signature of the tool {name!r} cannot be read: {error}") from error
    schema.pop("title", None)
    return Tool(
        name=name,
        description=description or _summary(documentation) or name.replace("_", " "),
        parameters={"properties": {}, **schema},
        func=func,
        is_async=inspect.iscoroutinefunction(func),
        wants_key=KEY_PARAMETER in signature.parameters,
        arguments=arguments,
        **effect,
    )


def _arguments_model(
    name: str, func: Callable[..., Any], signature: inspect.Signature, texts: Mapping[str, str]
) -> type[BaseModel]:
    hints = get_type_hints(func, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name == KEY_PARAMETER:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"parameter {parameter.name!r} cannot be given by name")
        default = ... if parameter.default is parameter.empty else parameter.default
        # The parameter's name is an alias, so that one called `json` or `copy` hides no attribute of the model.
        described: dict[str, Any] = {"description": texts[parameter.name]} if parameter.name in texts else {}
        field: Any = Field(default, alias=parameter.name, **described)
        fields[f"argument_{len(fields)}"] = (hints.get(parameter.name, Any), field)
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


class _PlainSchema(GenerateJsonSchema):
    """Leaves out the titles, which tell a model nothing that the names do not."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _summary(documentation: str) -> str:
    """The text before the sections on arguments, results and the like, as one line."""
    text = re.split(r"\n\s*\n\s*(?:[A-Z]\w+:\s*\n|:\w+)|\n:\w+", documentation, maxsplit=1)[0]
    return " ".join(text.split())


def _parameter_texts(documentation: str) -> dict[str, str]:
    """What a docstring says of each parameter: an `Args:` section, or `:param name:` lines."""
    texts = dict(re.findall(r"^\s*:param (?:\w+ )?(\w+):\s*(.+)$", documentation, re.MULTILINE))
    section = re.search(r"^(?:Args|Arguments|Parameters):\n((?:[ \t]+.*\n?|\n)+)", documentation, re.MULTILINE)
    if section:
        lines = inspect.cleandoc("\n" + section[1])
        for entry in re.split(r"\n(?=\S)", lines):
            named = re.match(r"(\w+)(?:\s*\([^)]*\))?:\s*(.+)", entry, re.DOTALL)
            if named:
                texts[named[1]] = " ".join(named[2].split())
    return texts
