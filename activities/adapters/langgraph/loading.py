"""Loads graphs from Python code: only from modules that the operator allows, once per process."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from activities.adapters.base import BadDefinition
from activities.adapters.langgraph.codec import Codec
from activities.adapters.langgraph.program import Program
from activities.adapters.langgraph.routing import step_name
from activities.adapters.langgraph.saver import Layout, StateSaver
from activities.adapters.langgraph.spec import EntrypointDefinition


class NotLoadable(BadDefinition):
    """An entry point cannot be used; the message says why, in the words of the error that it raised."""


class Entrypoints:
    """The graphs in code of this process. `path` are folders to import from, `modules` what may be imported."""

    def __init__(self, path: Sequence[str], modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._programs: dict[str, asyncio.Task[Program]] = {}
        for folder in path:
            # At the end, so that no folder of a user takes the place of a library.
            if folder not in sys.path:
                sys.path.append(folder)

    async def program(self, definition: EntrypointDefinition) -> Program:
        """The compiled graph. Raises `NotLoadable`."""
        key = json.dumps([definition.entrypoint, definition.config.model_dump(), definition.context], sort_keys=True)
        task = self._programs.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._programs[key] = asyncio.create_task(self._load(definition))
        # A finished one is taken without awaiting: it may have been loaded on another event loop.
        return task.result() if task.done() else await asyncio.shield(task)

    async def _load(self, definition: EntrypointDefinition) -> Program:
        config = RunnableConfig(**definition.config.model_dump(exclude_none=True))  # type: ignore[typeddict-item]
        try:
            found = await asyncio.to_thread(self._import, definition.entrypoint)
            if not isinstance(found, StateGraph | CompiledStateGraph):
                found = await _made_by(found, config)
            return self._compile(found, definition, config)
        except NotLoadable:
            raise
        except Exception as error:
            # Whatever the user's code raises while it loads is what the user has to read.
            raise NotLoadable(f"{definition.entrypoint} cannot be loaded: {_words(error)}") from error

    def _import(self, entrypoint: str) -> Any:
        module_name, _, name = entrypoint.partition(":")
        if not self._allows(module_name):
            allowed = ", ".join(self._modules) or "none"
            raise NotLoadable(
                f"The module {module_name!r} is not allowed; the operator allows: {allowed} (OMIUM_AGENT_MODULES)."
            )
        module = importlib.import_module(module_name)
        if not hasattr(module, name):
            raise NotLoadable(f"The module {module_name!r} has no {name!r}.")
        found = getattr(module, name)
        if isinstance(found, StateGraph | CompiledStateGraph):
            return found
        # Anything callable that a module happens to import must not be called by whoever can write a definition.
        if not inspect.isfunction(found) or not self._allows(found.__module__):
            kind = type(found).__name__
            raise NotLoadable(f"{entrypoint} is no graph and no function that returns one, but a {kind}.")
        return found

    def _allows(self, module: str) -> bool:
        return any(module == allowed or module.startswith(f"{allowed}.") for allowed in self._modules)

    def _compile(self, found: Any, definition: EntrypointDefinition, config: RunnableConfig) -> Program:
        saver = StateSaver(Codec(self._own_types()))
        if isinstance(found, CompiledStateGraph):
            if found.interrupt_before_nodes or found.interrupt_after_nodes:
                raise NotLoadable(
                    f"{definition.entrypoint} is compiled with interrupt_before or interrupt_after, which ask nothing; "
                    "call interrupt() in a node to ask a person."
                )
            # Compiling again lets LangGraph tell our saver the types of the state; a copy would not.
            graph = found.builder.compile(
                checkpointer=saver, store=found.store, cache=found.cache, name=found.name, debug=found.debug
            )
            graph.config, graph.step_timeout = found.config, found.step_timeout
        elif isinstance(found, StateGraph):
            graph = found.compile(checkpointer=saver)
        else:
            raise NotLoadable(f"{definition.entrypoint} returned no graph, but a {type(found).__name__}.")
        if any(isinstance(channel, DeltaChannel) for channel in graph.channels.values()):
            raise NotLoadable(f"{definition.entrypoint} uses a DeltaChannel, whose state is not kept in one place.")
        fields = frozenset(graph.builder.channels)
        layout = Layout(field_of=lambda name: name if name in fields else None, channel_of=str, coded=True)
        return Program(graph, saver, layout, config, definition.context, _first_step(graph.builder))

    def _own_types(self) -> Iterator[tuple[str, str]]:
        """Classes of the allowed modules: values of these may be in a state although no schema names them."""
        for name, module in list(sys.modules.items()):
            if self._allows(name):
                classes = (value for value in vars(module).values() if inspect.isclass(value))
                yield from ((name, value.__name__) for value in classes if value.__module__ == name)


def _first_step(builder: StateGraph[Any, Any, Any, Any]) -> str:
    if START in builder.branches:
        return ""
    first = {target for source, target in builder.edges if source == START}
    return step_name(node for node in builder.nodes if node in first)


async def _made_by(factory: Callable[..., Any], config: RunnableConfig) -> Any:
    """What a factory returns; one that is not a coroutine function runs in a thread."""
    arguments = [config] if inspect.signature(factory).parameters else []
    if inspect.iscoroutinefunction(factory):
        return await factory(*arguments)
    return await asyncio.to_thread(factory, *arguments)


def _words(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
