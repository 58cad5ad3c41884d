"""A receiver for each test; what the outbox holds is seen in the database itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from models.database import Database
from tests.notifications.receiver import Receiver, listening
from tests.support.database import PostgresServer, database_at


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = database_at(postgres.url, pool_size=10)
    yield database
    await database.close()
