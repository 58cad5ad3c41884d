"""A database for one test each, and a world in which runs were made and changed things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from models.database import Database
from tests.steering.world import World
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
async def world(database: Database, tenant: UUID, tmp_path: Path) -> AsyncIterator[World]:
    world = World(database, tenant, tmp_path)
    yield world
    world.close()
