"""The API in this process on the database of the suite, and a Temporal with the worker that carries requests out."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from temporalio.client import Client

from activities.stores.encrypted import EncryptedStore
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from models.database import Database
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.api.conftest import Caller
from tests.api.conftest import app as app
from tests.api.conftest import as_caller as as_caller
from tests.api.conftest import database as database
from tests.api.conftest import key_of as key_of
from tests.api.conftest import tenant as tenant
from tests.support.database import PostgresServer
from tests.support.loopback import free_port
from tests.support.temporal import running_temporal, serving

AgeObjects = Callable[[], None]

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_temporal(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url,
        store_path=tmp_path,
        temporal_address=f"127.0.0.1:{free_port()}",
        inline_bytes=64,
        password_memory_kib=8192,
        password_passes=1,
    )


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Client]:
    async with serving(settings) as client:
        yield client


@pytest.fixture
def objects(settings: Settings) -> FileStore:
    return FileStore(settings.store_path)


@pytest.fixture
def values(settings: Settings, database: Database, objects: FileStore) -> ValueStore:
    return ValueStore(EncryptedStore(objects, database.keys), inline_bytes=settings.inline_bytes)


@dataclass(frozen=True)
class Person:
    """An owner who signed in, by the API."""

    http: httpx.AsyncClient
    tenant: UUID
    user: UUID
    slug: str
    email: str


@pytest.fixture
async def register(as_caller: Caller, database: Database) -> AsyncIterator[Callable[[], Awaitable[Person]]]:
    """Makes a person with a new tenant."""
    async with AsyncExitStack() as clients:

        async def make() -> Person:
            http = await clients.enter_async_context(as_caller(None))
            email = f"ann-{new_id().hex}@example.com"
            answer = await http.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})
            assert answer.status_code == 201, answer.text
            signed_in = answer.json()
            http.headers["Authorization"] = f"Bearer {signed_in['access_token']}"
            tenant = (await http.get("/api/v1/tenant")).json()
            return Person(http, UUID(tenant["id"]), UUID(signed_in["user"]["id"]), tenant["slug"], email)

        yield make


@pytest.fixture
async def owner(register: Callable[[], Awaitable[Person]]) -> Person:
    return await register()


@pytest.fixture
def age_objects(settings: Settings) -> AgeObjects:
    """Makes all objects look as if they had been written a day ago."""

    def age() -> None:
        for path in settings.store_path.rglob("*"):
            os.utime(path, (time.time() - 86_400,) * 2)

    return age
