"""The frameworks of a worker: their adapters, loaded when first needed, and the check of a definition by loading it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from temporalio import activity

from activities.adapters.base import Adapter, Json, JsonObject, ToolFailed, ToolSpec
from activities.adapters.flow.adapter import FlowAdapter
from activities.adapters.registry import definition_for, load_adapter
from activities.contracts.reading import bare
from activities.loops import LoopThread, in_own_thread
from activities.stores.values import ValueStore
from activities.tools.registry import ToolRegistry
from models.wire import CheckInput, CheckOutcome
from omium_core.settings import Settings


class Frameworks:
    """Loads adapters in a thread: importing a framework takes seconds, and heartbeats must not wait for it."""

    def __init__(
        self,
        settings: Settings,
        scratch: Path,
        registry: ToolRegistry,
        agents_loop: LoopThread,
        values: ValueStore,
        load: Callable[[str, Settings, Path], Adapter] = load_adapter,
    ) -> None:
        self._settings = settings
        self._scratch = scratch
        self._registry = registry
        self._agents_loop = agents_loop
        self._values = values
        self._load = load
        self._adapters: dict[str, asyncio.Task[Adapter]] = {}

    async def adapter(self, framework: str) -> Adapter:
        task = self._adapters.get(framework)
        if task is None:
            task = self._adapters[framework] = asyncio.create_task(self._loaded(framework))
        return await asyncio.shield(task)

    async def _loaded(self, framework: str) -> Adapter:
        # an import that takes seconds must not keep a worker from ending
        adapter = await in_own_thread(
            lambda: self._load(framework, self._settings, self._scratch), name=f"load {framework}"
        )
        if isinstance(adapter, FlowAdapter):
            loop = asyncio.get_running_loop()
            # asked in a thread: what its nodes need is what this process has loaded
            adapter.load = lambda name: asyncio.run_coroutine_threadsafe(self.adapter(name), loop).result()
        return adapter

    @activity.defn(name="check_definition")
    async def check_definition(self, check: CheckInput) -> CheckOutcome:
        """What only loading can tell about a definition: problems, or the name of its first step."""
        adapter = await self.adapter(check.framework)
        definition = bare(json.loads(await self._values.get(check.tenant_id, check.blob)), check.framework)
        problems = definition_for(check.framework).validate(definition, tools=self._registry.names)
        if not problems:
            problems = await self._agents_loop.run(adapter.check(definition, tools=_Catalogue(self._registry)))
        if problems:
            return CheckOutcome([(problem.path, problem.message) for problem in problems])
        return CheckOutcome(first_step=await self._agents_loop.run(adapter.first_step(definition)))


class _Catalogue:
    """A `ToolBox` that knows the tools and calls none: a definition is judged, not run."""

    def __init__(self, registry: ToolRegistry) -> None:
        self._registry = registry

    def specs(self, names: Sequence[str]) -> list[ToolSpec]:
        return self._registry.specs(names)

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        raise ToolFailed("Tools are not called while a definition is checked.")

    def call_sync(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        raise ToolFailed("Tools are not called while a definition is checked.")
