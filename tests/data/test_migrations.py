"""The migrations lead to the tables, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from models.migrate import upgrade
from models.revision import MIGRATIONS, newest_revision
from models.tables import Table
from models.tables.identity import PLATFORM_TABLES


def alembic(url: str, work: Callable[[Config], None]) -> None:
    """Runs one of Alembic's commands on a database."""

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        work(config)

    async def connect() -> None:
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(run)
        await engine.dispose()

    asyncio.run(connect())


def ask(url: str, work: Callable[[Connection], object]) -> object:
    async def connect() -> object:
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.begin() as connection:
            answer = await connection.run_sync(work)
        await engine.dispose()
        return answer

    return asyncio.run(connect())


def tables(url: str) -> set[str]:
    """All tables but the partitions of others."""
    names = set(ask(url, lambda connection: inspect(connection).get_table_names()))  # type: ignore[call-overload]
    return {name for name in names if not name.startswith("audit_logs_")}


def test_upgraded_database_has_the_tables_of_the_code(empty_url: str) -> None:
    asyncio.run(upgrade(empty_url))
    assert tables(empty_url) == {*Table.metadata.tables, "alembic_version"}
    alembic(empty_url, command.check)


def test_check_notices_a_difference(empty_url: str) -> None:
    asyncio.run(upgrade(empty_url))
    ask(empty_url, lambda connection: connection.execute(text("ALTER TABLE failures DROP COLUMN stack_trace")))
    with pytest.raises(Exception, match="stack_trace"):
        alembic(empty_url, command.check)


def test_down_and_up_again(empty_url: str) -> None:
    asyncio.run(upgrade(empty_url))
    alembic(empty_url, lambda config: command.downgrade(config, "base"))
    assert tables(empty_url) == {"alembic_version"}
    asyncio.run(upgrade(empty_url))
    alembic(empty_url, command.check)


def test_two_at_once_are_as_good_as_one(empty_url: str) -> None:
    async def both() -> None:
        await asyncio.gather(upgrade(empty_url), upgrade(empty_url))

    asyncio.run(both())
    revisions = ask(
        empty_url, lambda connection: connection.execute(text("SELECT version_num FROM alembic_version")).all()
    )
    assert revisions == [(newest_revision(),)]


def test_every_row_but_a_tenant_names_its_tenant() -> None:
    for table in Table.metadata.sorted_tables:
        # a price may hold for all tenants
        if table.name not in ("tenants", "audit_heads", "prices", *PLATFORM_TABLES):
            assert not table.c.tenant_id.nullable, table.name
            assert {key.column.table.name for key in table.c.tenant_id.foreign_keys} == {"tenants"}, table.name


def test_application_has_no_grant_on_tables_of_the_platform(empty_url: str) -> None:
    asyncio.run(upgrade(empty_url))
    query = text("SELECT table_name FROM information_schema.role_table_grants WHERE grantee = 'omium_app'")
    granted = {row[0] for row in ask(empty_url, lambda connection: connection.execute(query).all())}  # type: ignore[attr-defined]
    assert granted
    assert not granted & PLATFORM_TABLES
