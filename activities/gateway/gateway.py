"""The gateway as a worker holds it: a thread with its own event loop, database pool and HTTP server.

It must not share a loop with the agents: an agent that calls a model synchronously blocks its loop until the gateway has
answered.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from uuid import UUID

import uvicorn

from activities.adapters.base import ModelEndpoint
from activities.connections.book import ConnectionBook, Services
from activities.gateway.effects import EffectLog
from activities.gateway.external import Door, ExternalAgents
from activities.gateway.identity import PLACEHOLDER_KEY
from activities.gateway.journal import Journal
from activities.gateway.money import Till
from activities.gateway.prices import PriceBook
from activities.gateway.providers import UNNAMED_MODEL, ModelProviders
from activities.gateway.server import create_app
from activities.gateway.session import StepSession
from activities.gateway.tools import JournaledTools
from activities.tools.registry import ToolRegistry
from models.database import open_database
from models.repositories.journal import StepKey
from omium_core.settings import Settings

#: Seconds: for clients to get their answers when the worker stops, and for paid answers to reach the journal after that.
CLIENT_PATIENCE = 3
DRAIN_PATIENCE = 15.0


class Gateway:
    """Start it once per worker process; then open a session for each attempt of a step."""

    def __init__(self, settings: Settings, registry: ToolRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self._sessions: dict[str, StepSession] = {}
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.host, self.port = self._socket.getsockname()[:2]
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="omium-gateway", daemon=True)
        self._server: uvicorn.Server
        self._till: Till
        self._journal: Journal
        self._effects: EffectLog
        self._door: Door

    def start(self) -> None:
        """Returns when the gateway answers."""
        self._thread.start()
        self._ready.result(timeout=30)

    def stop(self) -> None:
        """Takes no more calls, and ends when those under way are journaled, or after about 20 seconds."""
        self._server.should_exit = True
        self._thread.join(timeout=CLIENT_PATIENCE + DRAIN_PATIENCE + 5)

    def find(self, token: str) -> StepSession | None:
        return self._sessions.get(token)

    @contextmanager
    def session(
        self, tenant_id: UUID, step: StepKey, attempt: int, on_decided: Callable[[], None]
    ) -> Iterator[StepSession]:
        """A session for one attempt; when the block ends its URL is worth nothing."""
        session = StepSession(tenant_id=tenant_id, step=step, attempt=attempt, on_decided=on_decided)
        self._sessions[session.token] = session
        try:
            yield session
        finally:
            del self._sessions[session.token]
            session.close()

    def endpoint(self, session: StepSession) -> ModelEndpoint:
        return ModelEndpoint(
            base_url=f"http://{self.host}:{self.port}/s/{session.token}/v1",
            api_key=PLACEHOLDER_KEY,
            default_model=self._settings.llm_model or UNNAMED_MODEL,
        )

    def tools(self, session: StepSession) -> JournaledTools:
        return JournaledTools(session, self._registry, self._journal, self._effects, self._ready.result())

    def external(self, session: StepSession, stop_asked: Callable[[], bool]) -> ExternalAgents:
        """The way to agents that run elsewhere. `stop_asked`: whether a cancelled step is to stop there too."""
        return ExternalAgents(session, self._door, self._ready.result(), stop_asked)

    async def calls_ended(self, step: StepKey, patience: float) -> None:
        """Waits up to so many seconds until no call of a step is under way: what is paid for reaches the journal."""
        work = asyncio.run_coroutine_threadsafe(self._journal.ended(step, patience), self._ready.result())
        await asyncio.wrap_future(work)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        database = open_database(self._settings)
        book, services = ConnectionBook(database), Services(self._settings)
        provider = ModelProviders(self._settings, book, services.guard)
        self._till = Till(database, self._settings, PriceBook(database, self._settings))
        self._journal = Journal(database, self._till)
        self._effects = EffectLog(database)
        self._door = Door(self._settings, database, self._journal, self._till, self._effects, book, services)
        app = create_app(self, self._journal, provider)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            # a client gives up idle connections before this server does: a call that meets a closing one would fail
            timeout_keep_alive=3600,
            timeout_graceful_shutdown=CLIENT_PATIENCE,
        )
        self._server = uvicorn.Server(config)
        asyncio.get_running_loop().call_soon(self._ready.set_result, asyncio.get_running_loop())
        try:
            await self._server.serve(sockets=[self._socket])
            await self._journal.drain(DRAIN_PATIENCE)
        finally:
            await services.close()
            await provider.close()
            await database.close()
