"""Answers from the journal, or makes the call and journals the answer: at most one payment for each call.

A call is known by (execution, lineage, step, hash of the request, n-th occurrence in the attempt). Its life:
look it up -> fence -> make it -> write the answer -> give the answer. The part after "make it" runs in a task of its own,
so a caller that goes away does not lose an answer that is being paid for, and it keeps trying to write for as long as the
database is away. The same call of two attempts in one process shares that task.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import structlog
import zstandard
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import StaleAttempt, StepError, StorageUnavailable
from activities.gateway.session import StepSession
from models.database import Database, is_database_away
from models.repositories.journal import JournalRepository, StepKey
from models.tables import JournalEntry

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: How long a call waits for the database before the step is told, and how long a paid answer keeps trying to be written.
LOOK_UP_PATIENCE = 60.0
WRITE_PATIENCE = 3600.0


#: Characters of a model's or a tool's name that fit the journal.
LONGEST_NAME = 255


@dataclass
class Call:
    """What is asked: `request` is JSON and decides the identity of the call."""

    kind: str
    endpoint: str
    name: str
    request: Any
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        canonical = json.dumps([self.kind, self.endpoint, self.request], sort_keys=True, separators=(",", ":"))
        self.hash = hashlib.sha256(canonical.encode()).hexdigest()


@dataclass
class Answer:
    """What came back. `cost` in millionths of a credit; `replayed` when it is from the journal.

    `along` is written in the transaction that journals the answer.
    """

    body: bytes
    content_type: str
    name: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    replayed: bool = False
    along: Callable[[AsyncSession], Awaitable[None]] | None = None


class _CallKey(NamedTuple):
    step: StepKey
    hash: str
    occurrence: int


class _NotMade(Exception):
    """The call was not made, for a reason of the one session that was to make it."""

    def __init__(self, reason: StepError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Journal:
    """Lives on the gateway's event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: dict[_CallKey, asyncio.Task[Answer]] = {}

    async def answer(
        self, session: StepSession, call: Call, occurrence: int, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The answer to a call, made at most once.

        Raises what `make` raises, the session's outcome if that is decided, `StaleAttempt`, or another `StepError`
        when the journal fails. A caller that is cancelled leaves the call to be finished and journaled.
        """
        key = _CallKey(session.step, call.hash, occurrence)
        while True:
            task = self._in_flight.get(key)
            mine = task is None
            if task is None:
                task = asyncio.create_task(self._once(key, session, call, make))
                task.add_done_callback(_tell_if_lost)
                self._in_flight[key] = task
            try:
                answer = await asyncio.shield(task)
            except _NotMade as refused:
                # what holds for an older attempt need not hold for ours
                if mine:
                    raise refused.reason from None
                continue
            tokens = answer.input_tokens + answer.output_tokens
            session.count(call.kind, call.hash, occurrence, tokens, answer.cost)
            log.info(
                "call answered",
                kind=call.kind,
                name=answer.name,
                replayed=answer.replayed,
                step=session.step.step_index,
            )
            return answer

    async def keep(self, session: StepSession, call: Call, occurrence: int, answer: Answer) -> None:
        """Writes an answer that came after its attempt was over; one that is there stays."""
        await self._write(session, call, occurrence, answer, 0)

    async def drain(self, patience: float) -> None:
        """Waits up to so many seconds for calls that are under way, so that paid answers reach the journal."""
        if self._in_flight:
            log.info("waiting for calls that are under way", calls=len(self._in_flight))
            _, lost = await asyncio.wait(list(self._in_flight.values()), timeout=patience)
            if lost:
                log.warning("calls are left unfinished", calls=len(lost))

    async def _once(
        self, key: _CallKey, session: StepSession, call: Call, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        try:
            return await self._look_up_or_make(session, call, key.occurrence, make)
        finally:
            # before the task is done: whoever finds a task here waits for one that still runs
            del self._in_flight[key]

    async def _look_up_or_make(
        self, session: StepSession, call: Call, occurrence: int, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        newest, entry = await self._patiently(
            session,
            lambda db: JournalRepository(db, session.tenant_id).look_up(session.step, call.hash, occurrence),
            LOOK_UP_PATIENCE,
        )
        if entry is not None:
            return Answer(
                body=zstandard.decompress(entry.answer),
                content_type=entry.content_type,
                name=entry.name,
                input_tokens=entry.input_tokens,
                output_tokens=entry.output_tokens,
                cost=entry.cost,
                replayed=True,
            )
        if newest != session.attempt:
            raise _NotMade(StaleAttempt(f"Attempt {session.attempt} of the step is over: attempt {newest} is running."))
        if session.outcome is not None:
            raise _NotMade(session.outcome)
        started = time.monotonic()
        try:
            answer = await make()
        except StaleAttempt as refused:
            raise _NotMade(refused) from None
        await self._write(session, call, occurrence, answer, int((time.monotonic() - started) * 1000))
        return answer

    async def _write(self, session: StepSession, call: Call, occurrence: int, answer: Answer, latency_ms: int) -> None:
        entry = JournalEntry(
            execution_id=session.step.execution_id,
            lineage=session.step.lineage,
            step_index=session.step.step_index,
            request_hash=call.hash,
            occurrence=occurrence,
            tenant_id=session.tenant_id,
            kind=call.kind,
            name=_storable(answer.name),
            endpoint=call.endpoint,
            attempt=session.attempt,
            content_type=answer.content_type,
            answer=zstandard.compress(answer.body),
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost=answer.cost,
            latency_ms=latency_ms,
        )

        async def work(db: AsyncSession) -> None:
            await JournalRepository(db, session.tenant_id).write(entry)
            if answer.along is not None:
                await answer.along(db)

        await self._patiently(session, work, WRITE_PATIENCE)

    async def _patiently(
        self, session: StepSession, work: Callable[[AsyncSession], Awaitable[T]], patience: float
    ) -> T:
        with journal_errors():
            return await self._database.run(session.tenant_id, work, patience=patience)


@contextmanager
def journal_errors(but: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """What goes wrong with the database, in the words of a step; `but` is let through."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        if is_database_away(error):
            raise StorageUnavailable("The call journal cannot be reached.") from error
        log.error("the call journal failed", exc_info=error)
        raise StepError(f"{type(error).__name__} in the call journal; the worker's log has the details.") from error


def _tell_if_lost(task: asyncio.Task[Answer]) -> None:
    """The caller may have gone: then nobody else looks at the error."""
    if not task.cancelled() and task.exception() is not None:
        log.info("call not answered", reason=type(task.exception()).__name__)


def _storable(name: str) -> str:
    """A name as PostgreSQL can keep it: names come from outside."""
    return name.replace("\x00", "").encode(errors="replace").decode()[:LONGEST_NAME]
