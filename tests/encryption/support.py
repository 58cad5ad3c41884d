"""What the database holds, seen as its owner sees it: past row security, and without any key."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg

from tests.support.database import PostgresServer


async def as_owner(postgres: PostgresServer, statement: str, *values: Any) -> list[asyncpg.Record]:
    """Rows of a statement."""
    connection = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
        return rows
    finally:
        await connection.close()


async def age_keys(postgres: PostgresServer, tenant: UUID) -> None:
    """As if the tenant's keys had been made a minute earlier than they were."""
    statement = "UPDATE tenant_keys SET created_at = created_at - interval '1 minute' WHERE tenant_id = $1"
    await as_owner(postgres, statement, tenant)
