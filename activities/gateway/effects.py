"""Effects as the gateway writes them: before a call that changes the world, and with its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import Json, StaleAttempt
from activities.gateway.journal import LOOK_UP_PATIENCE, WRITE_PATIENCE, journal_errors
from activities.gateway.session import StepSession
from models.database import Database
from models.repositories.effects import EffectRepository, NewEffect, begin_effect

#: Something to be written within somebody's transaction.
Writing = Callable[[AsyncSession], Awaitable[None]]

#: The longest message of a tool that is kept with an effect.
_ERROR_LENGTH = 4000


class EffectLog:
    """Lives on the gateway's event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, session: StepSession, effect: NewEffect) -> None:
        """Writes an effect down before its call. `StaleAttempt` if the attempt may not change the world any more."""
        with journal_errors():
            begun = await begin_effect(
                self._database, session.tenant_id, session.step, session.attempt, effect, patience=LOOK_UP_PATIENCE
            )
        if not begun:
            raise StaleAttempt(f"Attempt {session.attempt} of the step is over: it may not change anything any more.")

    def done(self, session: StepSession, key: str, result: Json) -> Writing:
        return lambda db: EffectRepository(db, session.tenant_id).settle(
            session.step.execution_id, key, "done", result=result
        )

    def failed(self, session: StepSession, key: str, error: str) -> Writing:
        kept = error.replace("\x00", "").encode(errors="replace").decode()[:_ERROR_LENGTH]
        return lambda db: EffectRepository(db, session.tenant_id).settle(
            session.step.execution_id, key, "failed", error=kept
        )

    async def write(self, session: StepSession, writing: Writing) -> None:
        """Writes what has no answer to go along with."""
        with journal_errors():
            await self._database.run(session.tenant_id, writing, patience=WRITE_PATIENCE)
