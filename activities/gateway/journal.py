"""Answers from the journal, or makes the call and journals the answer: at most one payment for each call.

A call is known by (execution, lineage, step, hash of the request, n-th occurrence in the attempt). Its life:
look it up -> fence -> make it -> write the answer -> give the answer. The part after "make it" runs in a task of its own,
so a caller that goes away does not lose an answer that is being paid for, and it keeps trying to write for as long as the
database is away. Equal calls of two attempts in one process share that task.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
import zstandard

from activities.adapters.base import StaleAttempt, StorageUnavailable
from activities.gateway.session import StepSession
from models.database import Database, is_database_away
from models.repositories.journal import JournalRepository
from models.tables import JournalEntry

log = structlog.get_logger(__name__)

#: How long a call waits for the database before the step is told, and how long a paid answer keeps trying to be written.
LOOK_UP_PATIENCE = 60.0
WRITE_PATIENCE = 3600.0


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
    """What came back. `cost` in millionths of a credit; `replayed` when it is from the journal."""

    body: bytes
    content_type: str
    name: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    replayed: bool = False


class Journal:
    """Lives on the gateway's event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: dict[tuple[object, ...], asyncio.Task[Answer]] = {}

    async def answer(self, session: StepSession, call: Call, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to a call, made at most once. Raises what `make` raises, or `StaleAttempt`."""
        key = (session.step, call.hash, session.next_occurrence(call.hash))
        while True:
            task = self._in_flight.get(key)
            mine = task is None
            if task is None:
                task = asyncio.create_task(self._look_up_or_make(session, call, key[2], make))
                self._in_flight[key] = task
                task.add_done_callback(lambda _done: self._in_flight.pop(key, None))
            try:
                answer = await asyncio.shield(task)
            except StaleAttempt:
                # an older attempt's look-up was refused; ours need not be
                if mine:
                    raise
                continue
            self._count(session, call, answer)
            return answer

    async def _look_up_or_make(
        self, session: StepSession, call: Call, occurrence: int, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        try:
            newest, entry = await self._database.run(
                lambda db: JournalRepository(db, session.tenant_id).look_up(session.step, call.hash, occurrence),
                patience=LOOK_UP_PATIENCE,
            )
        except Exception as error:
            if is_database_away(error):
                raise StorageUnavailable("The call journal cannot be reached.") from error
            raise
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
            raise StaleAttempt(f"Attempt {session.attempt} of the step is over: attempt {newest} is running.")
        started = time.monotonic()
        answer = await make()
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
            name=answer.name[:255],
            endpoint=call.endpoint,
            attempt=session.attempt,
            content_type=answer.content_type,
            answer=zstandard.compress(answer.body),
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost=answer.cost,
            latency_ms=latency_ms,
        )
        await self._database.run(
            lambda db: JournalRepository(db, session.tenant_id).write(entry), patience=WRITE_PATIENCE
        )

    @staticmethod
    def _count(session: StepSession, call: Call, answer: Answer) -> None:
        if call.kind == "model":
            session.model_calls += 1
            session.tokens += answer.input_tokens + answer.output_tokens
        else:
            session.tool_calls += 1
        log.info(
            "call answered", kind=call.kind, name=answer.name, replayed=answer.replayed, step=session.step.step_index
        )
