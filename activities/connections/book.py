"""A tenant's connections as a process uses them: found by name or id, opened, remembered for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from cachetools import TTLCache
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.connections.autogen import AutoGenStudio
from activities.connections.base import ExternalClient, Target
from activities.connections.crewai import CrewAI
from activities.connections.http import RemoteHttp, base_url, bearer
from activities.connections.langgraph import LangGraph
from activities.tools.guarded import Guard
from models.database import Database
from models.repositories.connections import ConnectionRepository
from models.tables import ExternalConnection
from omium_core.errors import ConnectionNotFound
from omium_core.keyring import Cipher
from omium_core.settings import Settings

#: A connection that was changed, or whose token was, is used as it is now within so many seconds.
MEMORY_SECONDS: Final = 2.0


class Services:
    """The clients of all types of agents' connections. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.guard = Guard(settings.http_allow_private)
        self._http = http = RemoteHttp(self.guard, settings.connection_timeout)
        self._studio = AutoGenStudio(http)
        self._clients: dict[str, ExternalClient] = {
            "crewai_aop": CrewAI(http),
            "langgraph_cloud": LangGraph(http),
            "autogen_studio": self._studio,
        }

    def client(self, kind: str) -> ExternalClient | None:
        """None for a type that runs no agents."""
        return self._clients.get(kind)

    async def check_provider(self, target: Target) -> str:
        """Whether a model provider is there and knows the key. Raises as the clients do."""
        answer = await self._http.json(
            replace(target, url=base_url(target.url)), "GET", "/models", headers=bearer(target.token)
        )
        listed = answer.get("data") if isinstance(answer, dict) else None
        count = f" It has {len(listed)} models." if isinstance(listed, list) else ""
        return f"The provider answers.{count}"

    async def close(self) -> None:
        await self._studio.close()


class NoSuchConnection(Exception):
    """What a definition names is none, or one of several; the message is a sentence for its author."""


@dataclass(frozen=True)
class Provider:
    """A tenant's own model provider. `version` changes with every change of it."""

    target: Target
    version: str
    models: tuple[str, ...]
    is_default: bool


def opened(row: ExternalConnection, cipher: Cipher) -> Target:
    """A connection with its token, ready to be used. Raises `KeyUnavailable`."""
    token = cipher.open_token(row.bearer_token_encrypted)
    return Target(str(row.id), row.connection_name, row.connection_type, row.crew_url, token, row.meta)


class ConnectionBook:
    """Reads connections for runs. Belongs to the event loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._providers: TTLCache[UUID, tuple[Provider, ...]] = TTLCache(maxsize=10_000, ttl=MEMORY_SECONDS)

    async def agent(self, tenant_id: UUID, name: str) -> Target:
        """The connection to an agent by its id or its name. Raises `NoSuchConnection`."""

        async def work(session: AsyncSession) -> Sequence[ExternalConnection]:
            connections = ConnectionRepository(session, tenant_id)
            try:
                return [await connections.get(UUID(name))]
            except (ValueError, ConnectionNotFound):
                return await connections.named(name)

        found = await self._database.run(tenant_id, work)
        if not found:
            raise NoSuchConnection(f"There is no connection {name!r}.")
        if len(found) > 1:
            raise NoSuchConnection(f"{len(found)} connections are called {name!r}: name one by its id.")
        if not found[0].is_active:
            raise NoSuchConnection(f"The connection {name!r} is switched off.")
        return opened(found[0], await self._database.keys.cipher(tenant_id))

    async def providers(self, tenant_id: UUID) -> tuple[Provider, ...]:
        """The tenant's own model providers."""
        known = self._providers.get(tenant_id)
        if known is None:
            rows = await self._database.run(
                tenant_id, lambda session: ConnectionRepository(session, tenant_id).providers()
            )
            cipher = await self._database.keys.cipher(tenant_id) if rows else None
            known = tuple(_provider(row, cipher) for row in rows) if cipher else ()
            self._providers[tenant_id] = known
        return known


def _provider(row: ExternalConnection, cipher: Cipher) -> Provider:
    models = row.meta.get("models")
    named = tuple(str(model) for model in models) if isinstance(models, list) else ()
    return Provider(opened(row, cipher), f"{row.id}/{row.updated_at.isoformat()}", named, bool(row.meta.get("default")))
