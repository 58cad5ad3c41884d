"""The API in this process with a mail server beside it, on the database of the suite. Hashes are cheap here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from models.database import Database
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.auth.mailbox import Mailbox, running_mailbox
from tests.support.database import PostgresServer, database_at
from tests.support.loopback import free_port

PASSWORD = "correct horse battery"


@dataclass
class Person:
    """Somebody who is signed in: a client that sends the access token."""

    email: str
    http: httpx.AsyncClient
    answer: dict[str, Any]

    @property
    def tenant_id(self) -> UUID:
        return UUID(self.answer["tenant"]["id"])

    @property
    def user_id(self) -> UUID:
        return UUID(self.answer["user"]["id"])

    @property
    def token(self) -> str:
        return str(self.answer["access_token"])


SignUp = Callable[..., Awaitable[Person]]
Client = Callable[..., httpx.AsyncClient]


@pytest.fixture(scope="module")
def mail_server() -> Iterator[tuple[Mailbox, int]]:
    with running_mailbox() as found:
        yield found


@pytest.fixture
def mailbox(mail_server: tuple[Mailbox, int]) -> Mailbox:
    return mail_server[0]


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path, mail_server: tuple[Mailbox, int]) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path,
        password_memory_kib=8,
        password_passes=1,
        mail_sender="smtp",
        mail_from="Omium <omium@example.org>",
        smtp_port=mail_server[1],
        smtp_security="none",
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with running(settings) as app:
        yield app


def running(settings: Settings) -> Any:
    """Another API process with these settings, as a context."""
    app = create_app(settings)

    class Context:
        async def __aenter__(self) -> FastAPI:
            self._lifespan = app.router.lifespan_context(app)
            await self._lifespan.__aenter__()
            return app

        async def __aexit__(self, *error: object) -> None:
            await self._lifespan.__aexit__(None, None, None)

    return Context()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = database_at(settings.database_url.get_secret_value(), pool_size=2)
    yield database
    await database.close()


def client_of(app: FastAPI, token: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of the API that comes from an address, with an access token."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1234))
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential."""
    async with client_of(app) as client:
        yield client


def an_email() -> str:
    return f"person-{new_id().hex}@example.com"


@pytest.fixture
async def sign_up(app: FastAPI) -> AsyncIterator[SignUp]:
    """Registers somebody new, who owns a tenant of their own."""
    clients: list[httpx.AsyncClient] = []

    async def register(email: str | None = None, **fields: Any) -> Person:
        body = {"email": email or an_email(), "password": PASSWORD, "tenant_name": "Acme", **fields}
        async with client_of(app) as client:
            answer = await client.post("/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        clients.append(client_of(app, found["access_token"]))
        return Person(found["user"]["email"], clients[-1], found)

    yield register
    for client in clients:
        await client.aclose()
