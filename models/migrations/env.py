"""Alembic's entry: runs migrations on the connection that `models.migrate` hands over, or on OMIUM_DATABASE_URL."""

from __future__ import annotations

import asyncio
import re

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from models.migrations.isolation import as_owner
from models.tables import Table
from omium_core.settings import Settings

_PARTITION = re.compile(r"audit_logs_(\d{4}_\d{2}|default)")


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    """Partitions are made as time goes by; no code names them."""
    return not (kind == "table" and _PARTITION.fullmatch(name or ""))


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Table.metadata, compare_type=True, include_name=_is_ours)
    with context.begin_transaction(), as_owner(connection):
        context.run_migrations()


async def run_from_settings() -> None:
    engine = create_async_engine(Settings().owner_url(), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


handed_over = context.config.attributes.get("connection")
if handed_over is None:
    asyncio.run(run_from_settings())
else:
    run(handed_over)
