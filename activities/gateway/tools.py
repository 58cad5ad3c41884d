"""The journaled door to tools: what a step's `ToolBox` does behind the two calls of its contract.

A call that changes the world is written down as an effect before it is made, and settled in the transaction that journals
its answer. A worker that dies in between leaves an effect whose outcome is not known; the next attempt, or a rollback,
makes the call again under the same key to learn it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence

from activities.adapters.base import Json, JsonObject, StepError, ToolFailed, ToolSpec
from activities.gateway.effects import EffectLog, Writing
from activities.gateway.journal import Answer, Call, Journal
from activities.gateway.money import Quote, tools_quote
from activities.gateway.prices import Prices
from activities.gateway.session import StepSession
from activities.tools.registry import ToolRegistry, UnusableResult
from models.repositories.effects import NewEffect


class JournaledTools:
    """The `ToolBox` of one attempt. Work happens on the gateway's loop, so a blocked caller cannot block it."""

    def __init__(
        self,
        session: StepSession,
        registry: ToolRegistry,
        journal: Journal,
        effects: EffectLog,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._session = session
        self._registry = registry
        self._journal = journal
        self._effects = effects
        self._loop = loop

    def specs(self, names: Sequence[str]) -> list[ToolSpec]:
        return self._registry.specs(names)

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        work = asyncio.run_coroutine_threadsafe(self._call(name, arguments, errors_as_answers), self._loop)
        return await asyncio.wrap_future(work)

    def call_sync(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        return asyncio.run_coroutine_threadsafe(self._call(name, arguments, errors_as_answers), self._loop).result()

    async def _call(self, name: str, arguments: JsonObject, errors_as_answers: bool) -> Json:
        if self._session.outcome is not None:
            raise self._session.outcome
        call = Call(kind="tool", endpoint="tools", name=name, request={"tool": name, "arguments": arguments})
        occurrence = self._session.take_occurrence(call.hash)
        key = self._idempotency_key(call, occurrence)

        async def make() -> Answer:
            try:
                return await self._run(name, arguments, key, errors_as_answers)
            except ToolFailed as failure:
                if not errors_as_answers:
                    raise
                return _answer(name, {"error": str(failure)}, failed=True)

        async def quote(prices: Prices) -> Quote:
            return tools_quote(prices, name)

        try:
            answer = json.loads((await self._journal.answer(self._session, call, occurrence, make, quote)).body)
        except asyncio.CancelledError:
            self._session.give_back_occurrence(call.hash, occurrence)
            raise
        except StepError as error:
            self._session.decide(error)
            raise
        if "error" in answer:
            self._session.tool_failures += 1
            return f"Error: {answer['error']}"
        return answer["result"]

    async def _run(self, name: str, arguments: JsonObject, key: str, errors_as_answers: bool) -> Answer:
        problems = self._registry.validate(name, arguments)
        if problems:
            raise ToolFailed("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
        nature = self._registry.nature(name, arguments)
        if nature is None:
            return _answer(name, {"result": await self._registry.run(name, arguments, key)})
        effect = NewEffect(key, name, arguments, nature.reversible, nature.inverse)
        await self._effects.begin(self._session, effect)
        try:
            result = await self._registry.run(name, arguments, key)
        except ToolFailed as failure:
            settled = self._effects.failed(self._session, key, str(failure))
            if isinstance(failure, UnusableResult):
                # it has happened, whatever the caller is told
                settled = self._effects.done(self._session, key, None)
            if errors_as_answers:
                return _answer(name, {"error": str(failure)}, settled, failed=True)
            await self._effects.write(self._session, settled)
            raise
        return _answer(name, {"result": result}, self._effects.done(self._session, key, result))

    def _idempotency_key(self, call: Call, occurrence: int) -> str:
        """The same for every attempt of the same call, so that a tool can tell a repetition from a new wish."""
        step = self._session.step
        parts = f"{step.execution_id}/{step.lineage}/{step.step_index}/{call.hash}/{occurrence}"
        return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _answer(name: str, document: JsonObject, along: Writing | None = None, *, failed: bool = False) -> Answer:
    return Answer(json.dumps(document).encode(), "application/json", name, along=along, failed=failed)
