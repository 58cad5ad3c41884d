"""The API in this process, as its own tests have it, and a sealer that works when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from activities.maintenance.sealing import Sealer
from activities.stores.file import FileStore
from models.database import Database
from models.migrate import upgrade
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.api.conftest import app as app
from tests.api.conftest import as_caller as as_caller
from tests.api.conftest import database as database
from tests.api.conftest import http as http
from tests.api.conftest import key_of as key_of
from tests.api.conftest import settings as settings
from tests.api.conftest import tenant as tenant
from tests.audit.support import TABLES, Checks, tamper, write
from tests.support.database import PostgresServer
from tests.support.tenants import add_tenant


@pytest.fixture
def objects(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "anchors")


@pytest.fixture
def sealer(database: Database, settings: Settings, objects: FileStore) -> Sealer:
    return Sealer(database, settings, objects)


@dataclass(frozen=True)
class Place:
    """Address of a database."""

    url: str


@pytest.fixture(scope="module")
def apart(postgres: PostgresServer) -> Iterator[Place]:
    """A database with the schema for one file of tests: what is broken in it breaks nothing for others."""
    server = postgres.url.replace("+asyncpg", "").rpartition("/")[0]
    name = f"audit_{new_id().hex}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(f"{server}/postgres")
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name}"))
    place = Place(f"{server.replace('postgresql', 'postgresql+asyncpg')}/{name}")
    asyncio.run(upgrade(place.url))
    yield place
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Who has the database: no grant and no policy holds this one, only the triggers, until they are switched off."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value().replace("+asyncpg", ""))
    yield connection
    await tamper(connection, *(f"DELETE FROM {table}" for table in TABLES))
    await connection.close()


@pytest.fixture
async def sealed(database: Database, sealer: Sealer, tenant: UUID, owner: asyncpg.Connection) -> Sequence[UUID]:
    """Entries of two tenants in the chain, those of `tenant` in their order."""
    other = await add_tenant(database)
    ids: list[UUID] = []
    for _ in range(3):
        ids += await write(database, tenant, new_values={"is_active": False}, metadata={"source": "api"})
        await write(database, other)
    while await sealer.seal():
        pass
    return ids


@pytest.fixture
def check(database: Database, settings: Settings, objects: FileStore) -> Checks:
    return Checks(database, settings, objects)
