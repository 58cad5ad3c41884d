"""Answers from the journal, or makes the call and journals the answer: at most one payment for each call.

A call is known by (execution, lineage, step, hash of the request, n-th occurrence in the attempt). Its life:
look it up -> fence -> hold what it can cost -> make it -> write the answer and settle its cost -> give the answer. All of it
runs in a task of its own, so a caller that goes away does not lose an answer that is being paid for, and it keeps trying to
write for as long as the database is away. The same call of two attempts in one process shares that task.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
import zstandard
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import StaleAttempt, StepError, StorageUnavailable
from activities.gateway.money import FREE_OF_CHARGE, Quote, Quoting, Till
from activities.gateway.session import StepSession
from models.database import Database, is_database_away
from models.pricing import Used
from models.repositories.journal import JournalRepository, Known, StepKey, look_up
from models.repositories.ledger import CallKey, Charge, LedgerRepository
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

    `used` are the tokens that are paid for, `estimated` if the provider did not report them. What `failed` is an answer to
    the agent, and costs nothing. `along` is written in the transaction that journals the answer.
    """

    body: bytes
    content_type: str
    name: str
    input_tokens: int = 0
    output_tokens: int = 0
    used: Used = field(default_factory=Used)
    estimated: bool = False
    failed: bool = False
    cost: int = 0
    replayed: bool = False
    along: Callable[[AsyncSession], Awaitable[None]] | None = None


class _NotMade(Exception):
    """The call was not made, for a reason of the one session that was to make it."""

    def __init__(self, reason: StepError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Journal:
    """Lives on the gateway's event loop."""

    def __init__(self, database: Database, till: Till) -> None:
        self._database = database
        self._till = till
        self._in_flight: dict[CallKey, asyncio.Task[Answer]] = {}

    async def answer(
        self,
        session: StepSession,
        call: Call,
        occurrence: int,
        make: Callable[[], Awaitable[Answer]],
        quoting: Quoting | None = None,
    ) -> Answer:
        """The answer to a call, made at most once. Without `quoting` it is free.

        Raises what `make` and `quoting` raise, the session's outcome if that is decided, `StaleAttempt`, `Unaffordable`, or
        another `StepError` when the journal fails. A caller that is cancelled leaves the call to be finished and journaled.
        """
        key = CallKey(session.step, call.hash, occurrence)
        while True:
            task = self._in_flight.get(key)
            mine = task is None
            if task is None:
                task = asyncio.create_task(self._once(key, session, call, make, quoting))
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

    async def keep(self, session: StepSession, call: Call, occurrence: int, answer: Answer, quote: Quote) -> None:
        """Writes and settles an answer that came after its attempt was over; one that is there stays."""
        await self._write(session, call, occurrence, answer, 0, quote.charge(answer, "", session.attempt))

    async def ended(self, step: StepKey, patience: float) -> None:
        """Waits up to so many seconds until no call of a step is under way."""
        calls = [task for key, task in self._in_flight.items() if key.step == step]
        if calls:
            await asyncio.wait(calls, timeout=patience)

    async def drain(self, patience: float) -> None:
        """Waits up to so many seconds for calls that are under way, so that paid answers reach the journal."""
        if self._in_flight:
            log.info("waiting for calls that are under way", calls=len(self._in_flight))
            _, lost = await asyncio.wait(list(self._in_flight.values()), timeout=patience)
            if lost:
                log.warning("calls are left unfinished", calls=len(lost))

    async def _once(
        self,
        key: CallKey,
        session: StepSession,
        call: Call,
        make: Callable[[], Awaitable[Answer]],
        quoting: Quoting | None,
    ) -> Answer:
        try:
            return await self._look_up_or_make(key, session, call, make, quoting)
        finally:
            # before the task is done: whoever finds a task here waits for one that still runs
            del self._in_flight[key]

    async def _look_up_or_make(
        self,
        key: CallKey,
        session: StepSession,
        call: Call,
        make: Callable[[], Awaitable[Answer]],
        quoting: Quoting | None,
    ) -> Answer:
        with journal_errors():
            known = await look_up(
                self._database, session.tenant_id, session.step, call.hash, key.occurrence, patience=LOOK_UP_PATIENCE
            )
        found = known.answer
        if found is not None:
            return Answer(
                body=found.body,
                content_type=found.content_type,
                name=found.name,
                input_tokens=found.input_tokens,
                output_tokens=found.output_tokens,
                cost=found.cost,
                replayed=True,
            )
        if known.attempt != session.attempt:
            raise _NotMade(
                StaleAttempt(f"Attempt {session.attempt} of the step is over: attempt {known.attempt} is running.")
            )
        if session.outcome is not None:
            raise _NotMade(session.outcome)
        quote = await self._quote(session, known, quoting)
        await self._hold(session, key, quote)
        started = time.monotonic()
        try:
            answer = await make()
        except Exception as error:
            await self._till.release(session, key, quote)
            if isinstance(error, StaleAttempt):
                raise _NotMade(error) from None
            raise
        charge = quote.charge(answer, known.step_name, session.attempt)
        latency_ms = int((time.monotonic() - started) * 1000)
        await self._write(session, call, key.occurrence, answer, latency_ms, charge)
        return answer

    async def _quote(self, session: StepSession, known: Known, quoting: Quoting | None) -> Quote:
        if quoting is None:
            return FREE_OF_CHARGE
        with journal_errors():
            prices = await self._till.prices.at(session.tenant_id, known.newest_price)
        return await quoting(prices)

    async def _hold(self, session: StepSession, key: CallKey, quote: Quote) -> None:
        try:
            with journal_errors(but=StepError):
                await self._till.hold(session, key, quote)
        except StorageUnavailable:
            raise
        except StepError as reason:
            # what cannot be paid for now may be, when another attempt asks for it
            raise _NotMade(reason) from None

    async def _write(
        self,
        session: StepSession,
        call: Call,
        occurrence: int,
        answer: Answer,
        latency_ms: int,
        charge: Charge | None,
    ) -> None:
        """Writes the answer and settles its cost, in one transaction."""
        key = CallKey(session.step, call.hash, occurrence)
        answer.cost = 0 if charge is None else charge.cost
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
            used_by=session.attempt,
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
            if charge is not None:
                # last: it locks the tenant's account until the commit
                await LedgerRepository(db, session.tenant_id).settle(key, replace(charge, resource=entry.name))

        try:
            await self._patiently(session, work, WRITE_PATIENCE)
        finally:
            session.holds.remove(key)

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
