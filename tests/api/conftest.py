"""The API in this process, over HTTP without a network, on the database of the suite. Temporal is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from models.database import Database
from omium_core.settings import Settings
from tests.support.database import PostgresServer, database_at
from tests.support.loopback import free_port
from tests.support.tenants import add_key, add_tenant

#: Opens a client of the API that sends a key.
Caller = Callable[[str | None], httpx.AsyncClient]
#: Makes a key of a tenant with these scopes (and `expires_at`, `revoked_at`, `is_active`).
KeyMaker = Callable[..., Awaitable[str]]


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path,
        max_body_bytes=10_000,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = database_at(settings.database_url.get_secret_value(), pool_size=2)
    yield database
    await database.close()


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return await add_tenant(database)


@pytest.fixture
def key_of(database: Database, settings: Settings) -> KeyMaker:
    async def make(tenant_id: UUID, *scopes: str, **options: Any) -> str:
        return await add_key(database, tenant_id, settings.api_key_pepper.get_secret_value(), *scopes, **options)

    return make


@pytest.fixture
def as_caller(app: FastAPI) -> Caller:
    def client(key: str | None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)

    return client


@pytest.fixture
async def http(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of `tenant` that may read and write."""
    async with as_caller(await key_of(tenant, "read", "write")) as client:
        yield client
