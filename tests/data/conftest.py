"""Databases for one test each, on the server of the whole suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import asyncpg
import pytest

from models.database import Database
from models.tables.base import new_id
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import add_tenant


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = database_at(postgres.url, pool_size=5)
    yield database
    await database.close()


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return await add_tenant(database)


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    """Address of a database in which nothing is yet."""
    server, _, _ = postgres.url.replace("+asyncpg", "").rpartition("/")
    name = f"empty_{new_id().hex}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(f"{server}/postgres")
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name}"))
    yield f"{server.replace('postgresql', 'postgresql+asyncpg')}/{name}"
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))
