"""A `ToolBox` in memory: the registered tools without a journal, and a log of what was called."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from activities.adapters.base import Json, JsonObject, ToolFailed, ToolSpec
from activities.tools.functions import from_function
from activities.tools.registry import ToolRegistry


def broken_tool(reason: str) -> str:
    """Always fails.

    Args:
        reason: What it says.
    """
    raise ValueError(reason)


class MemoryToolBox:
    """The built-in tools, `broken_tool`, and further functions. `calls` are in order of arrival, as JSON texts."""

    def __init__(self, functions: Iterable[Any] = ()) -> None:
        builtin = ToolRegistry.load((), ())
        tools = [builtin.get(name) for name in sorted(builtin.names)]
        self._registry = ToolRegistry([*tools, *(from_function(function) for function in (broken_tool, *functions))])
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []

    @property
    def names(self) -> frozenset[str]:
        return self._registry.names

    def specs(self, names: Sequence[str]) -> list[ToolSpec]:
        return self._registry.specs(names)

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        with self._lock:
            self.calls.append((name, json.dumps(arguments, sort_keys=True)))
        try:
            return await self._registry.run(name, arguments, "key")
        except ToolFailed as failure:
            if not errors_as_answers:
                raise
            return f"Error: {failure}"

    def call_sync(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        return asyncio.run(self.call(name, arguments, errors_as_answers=errors_as_answers))
