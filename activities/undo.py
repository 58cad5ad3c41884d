"""Undoes effects, newest first, each once: a saga whose every move is committed before the next one begins.

An effect is marked before its inverse is called and after; who takes the saga up again in between calls the same inverse
with the same key. So an inverse may be called again after a crash, like every tool, and knows it by its key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from activities.adapters.base import JsonObject, ToolFailed
from activities.step_errors import storable
from activities.tools.registry import ToolRegistry, UnusableResult
from models.database import Database
from models.repositories.effects import EffectRepository, standing_beyond
from models.repositories.lineages import Path
from models.tables import Effect, ExecutionEvent, Rollback

T = TypeVar("T")
log = structlog.get_logger(__name__)

#: The longest message of a tool that is kept.
_ERROR_LENGTH = 4000


class UndoFailed(Exception):
    """An effect could not be undone. The message is the tool's own; what was undone before stays undone."""

    def __init__(self, effect: Effect, message: str) -> None:
        super().__init__(message)
        self.effect = effect


@dataclass(frozen=True)
class Patience:
    """Seconds and counts: how long a live worker gets to tell what came of its call, and how often a tool is tried."""

    settle: float = 5.0
    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 10.0


class Saga:
    """Undoes what a rollback leaves. May be run again at any point, by any process."""

    def __init__(self, database: Database, tools: ToolRegistry, patience: Patience, rollback: Rollback) -> None:
        self._database = database
        self._tools = tools
        self._patience = patience
        self._rollback = rollback

    async def run(self, path: Path) -> None:
        """Undoes every standing effect that does not belong to a path. Nobody may add effects meanwhile."""
        effects = await self._commit(lambda db: self._effects(db).of_run(self._rollback.execution_id))
        for effect in standing_beyond(effects, path):
            await self._take_back(effect)

    async def _take_back(self, effect: Effect) -> None:
        if not effect.reversible:
            await self._set(effect, "kept")
        elif effect.inverse is None:
            # its tool says that there is nothing to do
            await self._undone(effect)
        else:
            if effect.status == "pending":
                effect = await self._settled(effect)
            if effect.status != "failed":
                await self._call_inverse(effect, effect.inverse or "")

    async def _call_inverse(self, effect: Effect, inverse: str) -> None:
        await self._set(effect, "undoing")
        key = f"undo-{effect.idempotency_key}"
        try:
            await self._persistently(
                lambda: self._tools.undo(effect.tool, inverse, effect.arguments, effect.result, key)
            )
        except ToolFailed as failure:
            await self._set(effect, "undoing", error=str(failure))
            raise UndoFailed(effect, str(failure)) from failure
        await self._undone(effect)

    async def _settled(self, effect: Effect) -> Effect:
        """The effect when it is known what came of its call.

        A live worker may still be about to tell. If none does, the call is made again under the same key: a tool that
        has been called answers what it answered then, and one that has not does it now.
        """
        deadline, pause = time.monotonic() + self._patience.settle, 0.02
        while effect.status == "pending" and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
            effect = await self._read(effect.id)
        if effect.status != "pending":
            return effect
        if effect.tool not in self._tools.names:
            raise UndoFailed(effect, f"The tool {effect.tool!r} is not registered: nobody can tell what its call did.")
        execution_id, key = effect.execution_id, effect.idempotency_key
        try:
            result = await self._persistently(
                lambda: self._tools.run(effect.tool, effect.arguments, effect.idempotency_key)
            )
        except UnusableResult:
            await self._commit(lambda db: self._effects(db).settle(execution_id, key, "done"))
        except ToolFailed as failure:
            said = storable(str(failure))[:_ERROR_LENGTH]
            await self._commit(lambda db: self._effects(db).settle(execution_id, key, "failed", error=said))
        else:
            await self._commit(lambda db: self._effects(db).settle(execution_id, key, "done", result=result))
        return await self._read(effect.id)

    async def _persistently(self, call: Callable[[], Awaitable[T]]) -> T:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ToolFailed),
            stop=stop_after_attempt(self._patience.attempts),
            wait=wait_exponential(self._patience.first_pause, max=self._patience.longest_pause),
            reraise=True,
        ):
            with attempt:
                return await call()
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _undone(self, effect: Effect) -> None:
        async def work(db: AsyncSession) -> None:
            await self._effects(db).set_status(effect.id, "undone", rollback_id=self._rollback.id)
            data: JsonObject = {"effect_id": str(effect.id), "tool": effect.tool, "inverse": effect.inverse}
            data |= {"lineage": effect.lineage, "step": effect.step_index, "rollback_id": str(self._rollback.id)}
            db.add(
                ExecutionEvent(
                    tenant_id=effect.tenant_id,
                    execution_id=effect.execution_id,
                    event_type="effect.undone",
                    data=data,
                )
            )

        await self._commit(work)
        log.info("effect undone", execution_id=str(effect.execution_id), tool=effect.tool)

    async def _set(self, effect: Effect, status: str, *, error: str | None = None) -> None:
        kept = None if error is None else storable(error)[:_ERROR_LENGTH]
        await self._commit(
            lambda db: self._effects(db).set_status(effect.id, status, rollback_id=self._rollback.id, error=kept)
        )

    async def _read(self, effect_id: UUID) -> Effect:
        return await self._commit(lambda db: self._effects(db).get(effect_id))

    async def _commit(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        return await self._database.run(self._rollback.tenant_id, work)

    def _effects(self, db: AsyncSession) -> EffectRepository:
        return EffectRepository(db, self._rollback.tenant_id)
