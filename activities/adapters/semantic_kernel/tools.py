"""Registered tools as functions of a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from pydantic import PrivateAttr
from semantic_kernel import Kernel
from semantic_kernel.filters import AutoFunctionInvocationContext, FunctionInvocationContext
from semantic_kernel.functions import (
    FunctionResult,
    KernelFunction,
    KernelFunctionMetadata,
    KernelParameterMetadata,
    KernelPlugin,
)

from activities.adapters.base import ToolBox, ToolFailed, ToolSpec
from activities.adapters.semantic_kernel.errors import ToolDoorShut
from activities.adapters.semantic_kernel.states import as_text

_PLUGIN: Final = "tools"


class _PlainName(KernelFunctionMetadata):
    """A function that models call by its own name, without that of a plugin: a registered tool has one name everywhere."""

    def custom_fully_qualified_name(self, separator: str) -> str:
        return self.name


class ToolFunction(KernelFunction):
    """A tool of the platform. Its failures are answers to the agent; in a template (`strict`) they are the step's."""

    _toolbox: ToolBox = PrivateAttr()
    _strict: bool = PrivateAttr(default=False)

    def connect(self, toolbox: ToolBox, *, strict: bool) -> None:
        self._toolbox, self._strict = toolbox, strict

    async def _invoke_internal(self, context: FunctionInvocationContext) -> None:
        known = {parameter.name for parameter in self.parameters}
        arguments = {name: value for name, value in context.arguments.items() if name in known}
        try:
            answer = await self._toolbox.call(self.name, arguments, errors_as_answers=not self._strict)
        except ToolFailed:
            raise
        except Exception as error:
            raise ToolDoorShut from error
        context.result = FunctionResult(function=self.metadata, value=as_text(answer))

    async def _invoke_internal_stream(self, context: FunctionInvocationContext) -> None:
        await self._invoke_internal(context)


class ToolKernel(Kernel):
    """A kernel whose tools are found by their whole names, which may have hyphens: those part a plugin's name elsewhere."""

    def get_function(self, plugin_name: str | None, function_name: str) -> KernelFunction:
        tools = self.plugins.get(_PLUGIN)
        whole = f"{plugin_name}-{function_name}" if plugin_name else function_name
        if tools is not None:
            for name in (whole, function_name if plugin_name is not None else ""):
                if name in tools:
                    return tools[name]
        return super().get_function(plugin_name, function_name)


def add_tools(kernel: Kernel, specs: Sequence[ToolSpec], toolbox: ToolBox, *, strict: bool = False) -> None:
    """Gives a kernel the registered tools."""
    if not specs:
        return
    functions = []
    for spec in specs:
        function = ToolFunction(metadata=_metadata(spec))
        function.connect(toolbox, strict=strict)
        functions.append(function)
    kernel.add_plugin(KernelPlugin(name=_PLUGIN, functions=functions))


class InOrder:
    """A filter under which calls that a model makes at once are answered in its order, however long each of them takes.

    The next request holds their answers, and a repeated step must make the same one.
    """

    def __init__(self) -> None:
        self._last: asyncio.Event | None = None

    async def __call__(
        self,
        context: AutoFunctionInvocationContext,
        # The framework passes it by this name.
        next: Callable[[AutoFunctionInvocationContext], Awaitable[None]],
    ) -> None:
        before, mine = self._last, asyncio.Event()
        self._last = mine
        try:
            # Calls that are refused are answered before any other.
            await asyncio.sleep(0)
            await next(context)
            if before is not None:
                await before.wait()
        finally:
            mine.set()


def _metadata(spec: ToolSpec) -> KernelFunctionMetadata:
    properties: dict[str, Any] = spec.parameters.get("properties", {})
    required = spec.parameters.get("required", ())
    return _PlainName(
        name=spec.name,
        description=spec.description,
        parameters=[
            KernelParameterMetadata(
                name=name, description=schema.get("description"), is_required=name in required, schema_data=schema
            )
            for name, schema in properties.items()
        ],
        is_prompt=False,
        is_asynchronous=True,
    )
