"""A tenant of its own for each test, on the server of the whole suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from models.database import Database
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import add_tenant


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = database_at(postgres.url)
    yield database
    await database.close()


@pytest.fixture
async def other(postgres: PostgresServer) -> AsyncIterator[Database]:
    """The same database, as another process has it."""
    database = database_at(postgres.url)
    yield database
    await database.close()


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return await add_tenant(database)
