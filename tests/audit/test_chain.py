"""Nobody can change the log unseen, and nobody but retention can change it at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from activities.maintenance.sealing import Sealer
from activities.maintenance.verification import verify_tenant
from activities.stores.file import FileStore
from models.database import Database
from models.repositories.audit_chain import drop_partitions, make_partitions
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.audit.conftest import Place
from tests.audit.support import Checks, tamper, write


@pytest.fixture
def settings(apart: Place, tmp_path: Path) -> Settings:
    return Settings(database_url=SecretStr(apart.url), store_path=tmp_path)


COLUMN = {"audit_logs": "status = status", "audit_chain": "seq = seq", "audit_heads": "seq = seq"}


async def test_what_was_sealed_is_valid(
    check: Checks, sealed: Sequence[UUID], database: Database, tenant: UUID
) -> None:
    verdict = await check()
    assert (verdict.valid, verdict.broken, verdict.pending) == (True, None, 0)
    assert verdict.checked >= 6
    assert (await verify_tenant(database, tenant)).checked == 3
    await write(database, tenant)
    assert (await check()).pending == 1


@pytest.mark.parametrize(
    "change", ["action = 'policy.delete'", "new_values = 'x'", "metadata = '{}'", "created_at = created_at + '1s'"]
)
async def test_a_changed_value(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID], database: Database, tenant: UUID, change: str
) -> None:
    await tamper(owner, f"UPDATE audit_logs SET {change} WHERE id = '{sealed[1]}'")
    for found in (await check(), await verify_tenant(database, tenant)):
        assert found.broken is not None
        assert (found.valid, found.broken.kind, found.broken.audit_id) == (False, "changed", str(sealed[1]))


async def test_a_deleted_entry(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID], database: Database, tenant: UUID
) -> None:
    await tamper(owner, f"DELETE FROM audit_logs WHERE id = '{sealed[1]}'")
    for found in (await check(), await verify_tenant(database, tenant)):
        assert found.broken is not None
        assert (found.broken.kind, found.broken.audit_id) == ("deleted", str(sealed[1]))


async def test_an_entry_that_is_deleted_with_its_link(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID]
) -> None:
    [row] = await owner.fetch("SELECT seq FROM audit_chain WHERE audit_id = $1", sealed[1])
    await tamper(
        owner,
        f"DELETE FROM audit_logs WHERE id = '{sealed[1]}'",
        f"DELETE FROM audit_chain WHERE audit_id = '{sealed[1]}'",
    )
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.seq) == ("deleted", row["seq"])


async def test_an_inserted_entry(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID], tenant: UUID
) -> None:
    forged = new_id()
    await tamper(
        owner,
        "INSERT INTO audit_logs (id, tenant_id, action, resource_type, metadata, status, created_at) "
        f"VALUES ('{forged}', '{tenant}', 'user.login', 'user', '{{}}', 'success', now())",
    )
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.audit_id) == ("inserted", str(forged))


async def test_an_entry_that_is_written_into_the_past(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID], sealer: Sealer, tenant: UUID
) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    forged = UUID(int=(int(past.timestamp() * 1000) << 80) | 0x7000_8000_0000_0000_0001)
    # with the triggers on: the sealer takes it for an entry like any other
    await owner.execute(
        "INSERT INTO audit_logs (id, tenant_id, action, resource_type, metadata, status, created_at) "
        f"VALUES ('{forged}', '{tenant}', 'user.login', 'user', '{{}}', 'success', now() - interval '2 days')"
    )
    assert await sealer.seal() == 1
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.audit_id) == ("inserted", str(forged))


async def test_another_order(check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID]) -> None:
    one, two = (f"(SELECT seq FROM audit_chain WHERE audit_id = '{audit_id}')" for audit_id in sealed[:2])
    await tamper(
        owner,
        "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM audit_chain",
        f"UPDATE audit_chain SET seq = -1 WHERE seq = {one}",
        f"UPDATE audit_chain SET seq = (SELECT seq FROM kept WHERE audit_id = '{sealed[0]}') WHERE seq = {two}",
        f"UPDATE audit_chain SET seq = (SELECT seq FROM kept WHERE audit_id = '{sealed[1]}') WHERE seq = -1",
    )
    verdict = await check()
    assert verdict.broken is not None
    assert verdict.broken.kind in ("changed", "reordered")


async def test_an_entry_that_is_removed_before_it_is_sealed(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID], database: Database, tenant: UUID
) -> None:
    [last] = await write(database, tenant)
    await tamper(owner, f"DELETE FROM audit_logs WHERE id = '{last}'")
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.audit_id) == ("deleted", str(last))


async def test_no_role_changes_what_is_written(owner: asyncpg.Connection, sealed: Sequence[UUID], tenant: UUID) -> None:
    for role in ("omium_app", "omium_system"):
        async with owner.transaction():
            await owner.execute(f"SET LOCAL omium.tenant_id = '{tenant}'; SET LOCAL omium.audit_retention = 'on'")
            await owner.execute(f"SET LOCAL ROLE {role}")
            for table, column in COLUMN.items():
                for statement in (f"UPDATE {table} SET {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await in_a_savepoint(owner, statement)


async def in_a_savepoint(owner: asyncpg.Connection, statement: str) -> None:
    async with owner.transaction():
        await owner.execute(statement)


async def test_the_owner_is_held_back_by_a_trigger(owner: asyncpg.Connection, sealed: Sequence[UUID]) -> None:
    partition = f"audit_logs_{datetime.now(UTC):%Y_%m}"
    for statement in ("UPDATE {} SET status = 'denied'", "DELETE FROM {}", "TRUNCATE {}"):
        for table in ("audit_logs", partition):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await owner.execute(statement.format(table))


async def test_partitions_cannot_be_read_past_row_security(
    database: Database, sealed: Sequence[UUID], tenant: UUID
) -> None:
    partition = f"audit_logs_{datetime.now(UTC):%Y_%m}"
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.transaction(tenant) as session:
            await session.execute(text(f"SELECT * FROM {partition}"))


async def test_writers_at_once_make_one_chain(
    database: Database, sealer: Sealer, check: Checks, tenant: UUID, settings: Settings, objects: FileStore
) -> None:
    others = [Sealer(database, settings, objects) for _ in range(3)]

    async def seal(one: Sealer) -> None:
        for _ in range(10):
            await one.seal()

    writers = [write(database, tenant, 5) for _ in range(8)]
    await asyncio.gather(*writers, *map(seal, (sealer, *others)))
    while await sealer.seal():
        pass
    verdict = await check()
    assert verdict.valid, verdict.broken
    assert verdict.last_seq - verdict.first_seq + 1 == verdict.checked


async def test_keys_that_are_destroyed_leave_the_chain_whole(
    check: Checks, database: Database, sealed: Sequence[UUID], tenant: UUID
) -> None:
    await database.keys.destroy(tenant)
    assert (await check()).valid
    assert (await verify_tenant(database, tenant)).valid


async def test_months_that_nobody_keeps_are_dropped(
    check: Checks, owner: asyncpg.Connection, database: Database, sealer: Sealer, tenant: UUID
) -> None:
    old = datetime.now(UTC) - timedelta(days=200)
    await owner.execute("SELECT audit_make_partitions($1, 0)", old)
    ids = [UUID(int=((int(old.timestamp() * 1000) << 80) | 0x7000_8000_0000_0000_0000) + n) for n in range(3)]
    await write(database, tenant, id=ids[0], created_at=old)
    await sealer.seal()
    [young] = await write(database, tenant)
    await sealer.seal()
    assert await sealer.drop(datetime.now(UTC) - timedelta(days=90))
    assert not await sealer.drop(datetime.now(UTC) - timedelta(days=90)), "there is nothing left to drop"
    assert [row["id"] for row in await owner.fetch("SELECT id FROM audit_logs")] == [young]
    verdict = await check()
    assert (verdict.valid, verdict.checked, verdict.first_seq) == (True, 1, 2)
    assert verdict.removed_before is not None
    await write(database, tenant)
    await sealer.seal()
    assert (await check()).checked == 2


async def test_young_entries_are_never_dropped(database: Database) -> None:
    with pytest.raises(DBAPIError, match="never dropped"):
        async with database.system() as session:
            await drop_partitions(session, datetime.now(UTC))


async def test_a_month_without_a_partition_refuses_nothing(
    owner: asyncpg.Connection, database: Database, sealer: Sealer, check: Checks, tenant: UUID
) -> None:
    far = datetime.now(UTC) + timedelta(days=400)
    late = UUID(int=(int(far.timestamp() * 1000) << 80) | 0x7000_8000_0000_0000_0000)
    await write(database, tenant, id=late, created_at=far)
    where = "SELECT tableoid::regclass::text AS place FROM audit_logs WHERE id = $1"
    assert (await owner.fetchrow(where, late))["place"] == "audit_logs_default"
    await sealer.seal()
    assert await owner.fetchval("SELECT audit_make_partitions($1, 0)", far) == 1
    assert (await owner.fetchrow(where, late))["place"] == f"audit_logs_{far:%Y_%m}"
    assert (await check()).valid, "the row is what it was"


async def test_partitions_ahead_of_time(database: Database, owner: asyncpg.Connection) -> None:
    async with database.system() as session:
        assert await make_partitions(session, 3) == 0, "the migration has made them"
        assert await make_partitions(session, 5) == 2
    names = [
        row["name"]
        for row in await owner.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass"
        )
    ]
    assert f"audit_logs_{datetime.now(UTC):%Y_%m}" in names
    for name in names:
        security = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = $1::text::regclass"
        assert await owner.fetchval(security, name), name
