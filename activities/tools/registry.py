"""The tools that a worker knows: those that come with the platform, and the functions that its operator registered."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from activities.adapters.base import Json, JsonObject, ToolFailed, ToolSpec
from activities.loops import in_own_thread
from activities.tools.calculator import calculator
from activities.tools.functions import KEY_PARAMETER, Tool, from_function, undoing_function
from activities.tools.http_request import HttpTool, only_reads
from activities.tools.json_query import json_query
from activities.tools.problems import argument_problems
from activities.tools.undoing import Nature, bound_arguments, check_inverse
from omium_core.errors import ConfigurationError, Problem

#: Set on a function by the SDK's decorator `omium.tool`; holds name, description, reversible and inverse.
MARK = "__omium_tool__"


class UnusableResult(ToolFailed):
    """The tool did its work and returned what is no JSON."""


class ToolRegistry:
    """Tools by name. Immutable after it was built; may be used from any thread and any event loop."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ConfigurationError(
                    f"Two tools are called {tool.name!r}: {_origin(self._tools[tool.name])} and {_origin(tool)}. "
                    'Give one of them another name: @tool(name="...").'
                )
            self._tools[tool.name] = tool
        #: The tools that undo others, by the names that effects know them by; functions are offered to no model.
        self._inverses = {tool.name: self._inverse(tool) for tool in self._tools.values() if tool.inverse is not None}
        self._undoing = {inverse.name: inverse for inverse in self._inverses.values()}
        self._validators = {
            name: Draft202012Validator(tool.parameters) for name, tool in (self._undoing | self._tools).items()
        }

    @classmethod
    def load(cls, tool_modules: Sequence[str], http_allow_private: Sequence[str]) -> ToolRegistry:
        """The built-in tools and the marked functions of `tool_modules`, which must be importable.

        `http_allow_private` are the hosts and networks that `http_request` may reach although they are private.
        `ConfigurationError` names the module or the entry that is wrong.
        """
        builtin = [from_function(func) for func in (calculator, json_query)]
        request = HttpTool(http_allow_private).http_request
        builtin.append(from_function(request, reversible=False, harmless=only_reads))
        marked = {func: None for name in tool_modules for func in _marked_functions(_import(name))}
        return cls([*builtin, *(_marked_tool(func) for func in marked)])

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    def get(self, name: str) -> Tool:
        """The tool of this name; `ToolFailed` tells which names there are."""
        tool = self._tools.get(name)
        if tool is None:
            raise ToolFailed(f"There is no tool {name!r}. Registered are: {', '.join(sorted(self._tools))}.")
        return tool

    def specs(self, names: Sequence[str]) -> list[ToolSpec]:
        """What a model is told of these tools, in the given order; `ToolFailed` for an unknown name."""
        return [ToolSpec(tool.name, tool.description, tool.parameters) for tool in map(self.get, names)]

    def validate(self, name: str, arguments: JsonObject) -> list[Problem]:
        """What is wrong with arguments, with paths from their root; `ToolFailed` for an unknown name."""
        self.get(name)
        return argument_problems(self._validators[name], arguments)

    async def run(self, name: str, arguments: JsonObject, idempotency_key: str) -> Json:
        """Calls a tool and gives its result as JSON data.

        Each call has a thread of its own with the caller's context variables, so a tool that blocks holds up nobody.
        A call whose waiter is cancelled runs on to its end, unheard. `ToolFailed` for wrong arguments, for whatever the
        tool raises, and for a result that is not JSON.
        """
        return await self._run(self.get(name), arguments, idempotency_key)

    def nature(self, name: str, arguments: JsonObject) -> Nature | None:
        """What a call does to the world; None if it changes nothing. `ToolFailed` for an unknown name."""
        tool = self.get(name)
        if tool.reversible is None or (tool.harmless is not None and tool.harmless(arguments)):
            return None
        inverse = self._inverses.get(name)
        return Nature(tool.reversible, inverse.name if inverse else None)

    async def undo(self, name: str, inverse: str, arguments: JsonObject, result: Json, idempotency_key: str) -> None:
        """Undoes a call of the tool `name` by calling its inverse. `ToolFailed` as `run`, or if the inverse is unknown."""
        undoing = self._undoing.get(inverse) or self.get(inverse)
        given = bound_arguments(self._tools.get(name), undoing, arguments, result)
        # what an inverse returns is for nobody
        with contextlib.suppress(UnusableResult):
            await self._run(undoing, given, idempotency_key)

    async def _run(self, tool: Tool, arguments: JsonObject, idempotency_key: str) -> Json:
        problems = argument_problems(self._validators[tool.name], arguments)
        if problems:
            told = "; ".join(
                f"{problem.path}: {problem.message}" if problem.path else problem.message for problem in problems
            )
            raise ToolFailed(f"Wrong arguments for {tool.name}: {told}")
        try:
            given = tool.convert(arguments)
        except ValidationError as error:
            raise ToolFailed(f"Wrong arguments for {tool.name}: {_first_sentence(error)}") from error
        if tool.wants_key:
            given[KEY_PARAMETER] = idempotency_key
        return _as_json(tool.name, await in_own_thread(lambda: _call(tool, given), name="tool"))

    def _inverse(self, tool: Tool) -> Tool:
        """The tool that undoes `tool`: a registered one, or the function as one."""
        if isinstance(tool.inverse, str):
            if tool.inverse not in self._tools:
                raise ConfigurationError(
                    f"The tool {tool.name!r} is undone by {tool.inverse!r}, which is not registered."
                )
            inverse = self._tools[tool.inverse]
        elif callable(tool.inverse):
            known = [known for known in self._tools.values() if known.func is tool.inverse]
            inverse = known[0] if known else undoing_function(tool.inverse, tool.name)
        else:
            raise ConfigurationError(f"The inverse of the tool {tool.name!r} is neither a name nor a function.")
        check_inverse(tool, inverse)
        return inverse


def _call(tool: Tool, given: dict[str, Any]) -> Any:
    try:
        return asyncio.run(tool.func(**given)) if tool.is_async else tool.func(**given)
    except ToolFailed:
        raise
    # A tool that calls sys.exit() fails like any other; it must not end the worker or leave its caller waiting.
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        raise ToolFailed(_message(error)) from error


def _message(error: BaseException) -> str:
    """The tool's own words, or at least the kind of its error. A KeyError's words are the bare key."""
    text = str(error)
    return text if text and not isinstance(error, KeyError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _as_json(name: str, result: Any) -> Json:
    try:
        # Through bytes, because a lone surrogate is text for Python and for nobody else.
        return json.loads(json.dumps(result, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableResult(
            f"The tool {name!r} returned a {type(result).__name__} that is not JSON data ({error}). "
            "Return texts, numbers, booleans, None, lists and dictionaries only."
        ) from error


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # Whatever the operator's module raises while it is imported, the reason is told the same way.
    except Exception as error:
        raise ConfigurationError(
            f"OMIUM_TOOL_MODULES names {name!r}, which cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _marked_functions(module: ModuleType) -> Iterator[Callable[..., Any]]:
    for value in vars(module).values():
        if callable(value) and isinstance(getattr(value, MARK, None), dict):
            yield value


def _marked_tool(func: Callable[..., Any]) -> Tool:
    mark: dict[str, Any] = getattr(func, MARK)
    return from_function(
        func,
        name=mark.get("name"),
        description=mark.get("description"),
        reversible=mark.get("reversible"),
        inverse=mark.get("inverse"),
    )


def _origin(tool: Tool) -> str:
    return f"{tool.func.__module__}.{tool.func.__qualname__}"


def _first_sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
