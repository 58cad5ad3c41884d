"""The durable door to agents that run elsewhere: one kickoff, followed to its end by whichever worker lives.

A kickoff is written down as an effect before the service is asked, and settled with the id that it gave; what came of the run
is journaled like the answer of a tool. An attempt that finds an id follows it. One that finds a kickoff of which nobody told
what came looks it up at the service, where that can be asked; where it cannot, the step fails (`external_unknown`) rather than
start a second run. Another run is started only after a failure that stands in the run's records: somebody, a person or a
policy, has then decided to try again.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import BadDefinition, ExternalResult, JsonObject, StepError, Unaffordable
from activities.connections.base import (
    ExternalClient,
    Kickoff,
    RemoteRefused,
    RemoteRun,
    RemoteUnavailable,
    Target,
)
from activities.connections.book import ConnectionBook, NoSuchConnection, Services
from activities.connections.failures import ExternalFailed, ExternalRefused, ExternalUnavailable, ExternalUnknown
from activities.gateway.effects import EffectLog
from activities.gateway.external_ends import NotThere, answer_of, not_there, run_of
from activities.gateway.journal import LOOK_UP_PATIENCE, Answer, Call, Journal, journal_errors
from activities.gateway.money import Quote, Till, tools_quote
from activities.gateway.prices import Prices
from activities.gateway.session import StepSession
from models.database import Database
from models.repositories.effects import EffectRepository, NewEffect
from models.repositories.failures import FailureRepository
from models.repositories.ledger import CallKey
from models.tables import Effect
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: Failures after which another run may be started, once each.
_DECIDED: Final = (ExternalFailed.failure_type, ExternalUnknown.failure_type)
#: Seconds that a worker which may still live gets to tell what came of its kickoff.
_SETTLE: Final = 5.0
#: Refusals that pass: the token is being changed, or the service does not yet know the id that it gave. Seconds.
_PASSING: Final = frozenset({401, 403, 404})
_GRACE: Final = 30.0
#: Seconds for asking a service to stop a run.
_STOP: Final = 15.0
_BACKOFF: Final = 1.5


@dataclass(frozen=True)
class Door:
    """What all steps of a worker share."""

    settings: Settings
    database: Database
    journal: Journal
    till: Till
    effects: EffectLog
    book: ConnectionBook
    services: Services


@dataclass(frozen=True)
class _Wish:
    """What a step asks for."""

    connection: str
    inputs: JsonObject
    options: JsonObject
    harmless: bool
    progress: Callable[[str], None]


class ExternalAgents:
    """The `ExternalRuns` of one attempt. Work happens on the gateway's loop.

    `stop_asked` tells, when the attempt is cancelled, whether the run itself wants the step to stop; a worker that only ends
    leaves the agent running.
    """

    def __init__(
        self, session: StepSession, door: Door, loop: asyncio.AbstractEventLoop, stop_asked: Callable[[], bool]
    ) -> None:
        self._session = session
        self._door = door
        self._loop = loop
        self._stop_asked = stop_asked
        self._late: set[asyncio.Task[None]] = set()
        self._ended_badly = 0
        self._asking: asyncio.Task[str | None] | None = None
        #: What the service said instead of a kickoff's id.
        self._lost = "the answer to its kickoff was lost."

    async def run(
        self,
        connection: str,
        inputs: JsonObject,
        *,
        options: JsonObject,
        harmless: bool,
        progress: Callable[[str], None],
    ) -> ExternalResult:
        wish = _Wish(connection, inputs, options, harmless, progress)
        work = asyncio.run_coroutine_threadsafe(self._run(wish), self._loop)
        return await asyncio.wrap_future(work)

    async def _run(self, wish: _Wish) -> ExternalResult:
        """Run after run, as long as each one that ended badly was recorded as a failure of the step."""
        if self._session.outcome is not None:
            raise self._session.outcome
        number = 0
        try:
            for number in itertools.count():
                result = await self._one(wish, number)
                if result is not None:
                    return result
        except asyncio.CancelledError:
            if self._stop_asked():
                self._later(self._stop(wish, number))
            raise
        raise AssertionError("unreachable: counting has no end")

    async def _one(self, wish: _Wish, number: int) -> ExternalResult | None:
        """What this run gave; None if it gave nothing and another one may be started."""
        kickoff_id = await self._started(wish, number)
        failure: StepError
        if kickoff_id is None:
            failure = ExternalUnknown(
                f"Nobody can tell whether the external agent was started: {self._lost} "
                "Look at the service, then retry the run to start the agent once more."
            )
        else:
            run, by_us = await self._end(wish, kickoff_id, number)
            if run.phase == "succeeded":
                tokens = run.tokens.total if run.tokens else 0
                return ExternalResult(kickoff_id, run.word, run.text, run.data, tokens)
            if by_us:
                return None
            failure = ExternalFailed(f"The external agent ended as {run.word}: {run.error or 'no reason given'}")
        self._ended_badly += 1
        if self._ended_badly > await self._decided():
            raise failure
        return None

    # The kickoff

    async def _started(self, wish: _Wish, number: int) -> str | None:
        """The id of the run, which is started if it was not; None if nobody can tell whether it was."""
        key = self._key(number)
        effect = await self._effect(key)
        if effect is not None and effect.status == "pending":
            effect = await self._settled(key)
        if effect is not None and effect.status not in ("pending", "failed"):
            known = effect.result if isinstance(effect.result, dict) else {}
            return str(known["kickoff_id"]) if known.get("kickoff_id") else None
        target, client = await self._open(wish)
        if effect is not None and effect.status == "pending" and not target.options.get("idempotent"):
            if not client.can_find:
                return None
            found = await self._found(target, client, key)
            if found is not None:
                await self._door.effects.write(self._session, self._done(key, found))
                return found.id
        return await self._kick_off(wish, target, client, number)

    async def _kick_off(self, wish: _Wish, target: Target, client: ExternalClient, number: int) -> str | None:
        key = self._key(number)
        arguments = {"connection": target.name, "connection_id": target.id, "inputs": wish.inputs}
        effect = NewEffect(key, f"external:{target.kind}", arguments, wish.harmless, None)
        quote = await self._quote(target)
        await self._hold(wish, number, quote)
        kickoff_id = None
        try:
            await self._door.effects.begin(self._session, effect)
            wish.progress(f"starting {target.name}")
            # cancelled or not, what the service answers must be written down
            self._asking = asyncio.create_task(self._ask(wish, target, client, key))
            kickoff_id = await asyncio.shield(self._asking)
        except StepError:
            await self._release(wish, number, quote)
            raise
        if kickoff_id is None:
            await self._release(wish, number, quote)
        return kickoff_id

    async def _ask(self, wish: _Wish, target: Target, client: ExternalClient, key: str) -> str | None:
        session, effects = self._session, self._door.effects
        try:
            kickoff = await client.kickoff(target, wish.inputs, key)
        except (RemoteRefused, RemoteUnavailable) as error:
            if not error.arrived:
                await effects.write(session, effects.failed(session, key, error.message))
            elif not client.can_find and not target.options.get("idempotent"):
                log.warning("the answer to a kickoff was lost", connection=target.id, reason=error.message)
                self._lost = error.message
                return None
            said = f"The external agent was not started: {error.message}"
            if isinstance(error, RemoteRefused):
                raise ExternalRefused(said) from None
            raise ExternalUnavailable(said, retry_after=error.retry_after) from None
        await effects.write(session, self._done(key, kickoff))
        log.info("external agent started", connection=target.id, service=target.kind)
        return kickoff.id

    async def _found(self, target: Target, client: ExternalClient, key: str) -> Kickoff | None:
        try:
            return await client.find(target, key)
        except RemoteRefused as refused:
            raise ExternalRefused(f"The external agent cannot be looked up: {refused.message}") from None
        except RemoteUnavailable as away:
            raise ExternalUnavailable(
                f"The external agent cannot be looked up: {away.message}", retry_after=away.retry_after
            ) from None

    async def _settled(self, key: str) -> Effect | None:
        """The effect when it is known what came of it, or when a worker that still lived would have told."""
        deadline, pause = time.monotonic() + _SETTLE, 0.05
        effect = await self._effect(key)
        while effect is not None and effect.status == "pending" and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)
            effect = await self._effect(key)
        return effect

    # The end

    async def _end(self, wish: _Wish, kickoff_id: str, number: int) -> tuple[RemoteRun, bool]:
        """How the run ended, from the journal or from the service, and whether we asked it to."""
        call = self._call(wish)
        try:
            return run_of(await self._door.journal.answer(self._session, call, number, not_there))
        except NotThere:
            target, _ = await self._open(wish)
            quote = replace(await self._quote(target), begun=True)
            # an earlier attempt may have held it: it is ours now
            await self._hold(wish, number, quote)
            run = await self._followed(wish, kickoff_id)
        answer = answer_of(call, run, by_us=False)

        async def make() -> Answer:
            return answer

        async def quoted(_: Prices) -> Quote:
            return quote

        return run_of(await self._door.journal.answer(self._session, call, number, make, quoted))

    async def _followed(self, wish: _Wish, kickoff_id: str) -> RemoteRun:
        """Looks at the run until it is over; what cannot be reached is waited for."""
        settings = self._door.settings
        pause, heard = settings.external_poll_interval, time.monotonic()
        while True:
            target, client = await self._open(wish)
            try:
                run = await client.status(target, kickoff_id)
            except RemoteUnavailable as away:
                if time.monotonic() - heard > settings.external_patience:
                    raise ExternalUnavailable(f"The external agent cannot be followed: {away.message}") from None
                wait = max(pause, away.retry_after or 0.0)
            except RemoteRefused as refused:
                if refused.status not in _PASSING or time.monotonic() - heard > _GRACE:
                    raise ExternalRefused(f"The external agent cannot be followed: {refused.message}") from None
                wait = pause
            else:
                if run.phase != "running":
                    return run
                heard, wait = time.monotonic(), pause
                wish.progress(f"{target.name}: {run.word or 'running'}")
            await asyncio.sleep(wait)
            pause = min(pause * _BACKOFF, settings.external_poll_max_interval)

    # Stopping

    async def _stop(self, wish: _Wish, number: int) -> None:
        """Asks the service to stop the run. One that cannot be asked goes on, and is followed if the step runs again."""
        if self._asking is not None:
            await asyncio.wait([self._asking])
        effect = await self._effect(self._key(number))
        if effect is None or effect.status != "done":
            return
        kickoff_id = str(effect.result["kickoff_id"])
        target, client = await self._open(wish)
        async with asyncio.timeout(_STOP):
            stopped = await client.cancel(target, kickoff_id)
            log.info("external agent told to stop", connection=target.id, can=stopped)
            run = await client.status(target, kickoff_id) if stopped else None
        if run is not None:
            # it may have been quicker
            ended = run if run.phase == "succeeded" else RemoteRun("cancelled", "cancelled", tokens=run.tokens)
            call = self._call(wish)
            answer = answer_of(call, ended, by_us=ended is not run)
            quote = await self._quote(target)
            await self._door.journal.keep(self._session, call, number, answer, quote)

    def _later(self, work: Any) -> None:
        async def quietly() -> None:
            try:
                await work
            except (StepError, RemoteRefused, RemoteUnavailable, TimeoutError) as error:
                log.warning("external agent could not be stopped", reason=type(error).__name__)

        task = asyncio.create_task(quietly())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    # Money

    async def _quote(self, target: Target) -> Quote:
        """What a run costs, whatever comes of it: the price of the connection."""
        with journal_errors():
            prices = await self._door.till.prices.now(self._session.tenant_id)
        return tools_quote(prices, f"external:{target.id}", f"external:{target.name}")

    async def _hold(self, wish: _Wish, number: int, quote: Quote) -> None:
        try:
            with journal_errors(but=StepError):
                await self._door.till.hold(self._session, self._call_key(wish, number), quote)
        except Unaffordable as lack:
            self._session.decide(lack)
            raise

    async def _release(self, wish: _Wish, number: int, quote: Quote) -> None:
        with journal_errors():
            await self._door.till.release(self._session, self._call_key(wish, number), quote)

    def _call_key(self, wish: _Wish, number: int) -> CallKey:
        return CallKey(self._session.step, self._call(wish).hash, number)

    # Reading

    async def _open(self, wish: _Wish) -> tuple[Target, ExternalClient]:
        """The connection as it is now: its token may have been changed since the last look."""
        try:
            with journal_errors(but=NoSuchConnection):
                target = await self._door.book.agent(self._session.tenant_id, wish.connection)
        except NoSuchConnection as error:
            raise BadDefinition(str(error)) from None
        client = self._door.services.client(target.kind)
        if client is None:
            raise BadDefinition(f"The connection {target.name!r} leads to no agent: it is a {target.kind}.")
        options = {**target.options, **wish.options}
        return Target(target.id, target.name, target.kind, target.url, target.token, options), client

    async def _effect(self, key: str) -> Effect | None:
        execution_id, tenant_id = self._session.step.execution_id, self._session.tenant_id
        found: Effect | None = await self._read(lambda db: EffectRepository(db, tenant_id).by_key(execution_id, key))
        return found

    async def _decided(self) -> int:
        """How many failures of the kind after which somebody decides stand in the run's records."""
        step, tenant_id = self._session.step, self._session.tenant_id
        found: int = await self._read(
            lambda db: FailureRepository(db, tenant_id).of_step(
                step.execution_id, step.lineage, step.step_index, _DECIDED
            )
        )
        return found

    async def _read(self, work: Callable[[AsyncSession], Any]) -> Any:
        with journal_errors():
            return await self._door.database.run(self._session.tenant_id, work, patience=LOOK_UP_PATIENCE)

    def _done(self, key: str, kickoff: Kickoff) -> Any:
        return self._door.effects.done(self._session, key, {"kickoff_id": kickoff.id})

    def _call(self, wish: _Wish) -> Call:
        request = {"connection": wish.connection, "inputs": wish.inputs, "options": wish.options}
        return Call(kind="tool", endpoint="external", name=f"external:{wish.connection}", request=request)

    def _key(self, number: int) -> str:
        """The same for every attempt of the step; another one for each run that it may start."""
        step = self._session.step
        parts = f"external/{step.execution_id}/{step.lineage}/{step.step_index}/{number}"
        return hashlib.sha256(parts.encode()).hexdigest()[:32]
