"""What lies in the tables: sealed with the tenant's key, readable for nobody else, sealed anew after a rotation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col

from activities.stores.encrypted import EncryptedStore
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.effects import EffectRepository
from models.repositories.events import EventRepository
from models.repositories.executions import ExecutionRepository
from models.resealing import Resealing, sealed_tables
from models.tables import Effect, Execution, ExecutionEvent, ExternalConnection, Failure
from omium_core.errors import KeyUnavailable, NotFound, TenantErased
from tests.encryption.support import age_keys, as_owner
from tests.support.database import PostgresServer
from tests.support.tenants import Owned, add, add_execution, add_tenant
from workers.resealing import reseal_tenant, tenant_named

WORDS = "words that nobody else may read \x00 \ud800"


@pytest.fixture
async def row(database: Database, tenant: UUID) -> Owned:
    row = await add_execution(database, tenant)
    async with database.transaction(tenant) as session:
        execution = await ExecutionRepository(session, tenant).get(row.execution)
        execution.inputs, execution.error_message = {"z": WORDS, "a": 1}, WORDS
        session.add(execution)
    return row


@pytest.fixture
def objects(database: Database, tmp_path: Path) -> EncryptedStore:
    return EncryptedStore(FileStore(tmp_path), database.keys)


async def heads(postgres: PostgresServer, tenant: UUID) -> AsyncIterator[tuple[str, bytes]]:
    """Where something sealed lies, and its first bytes."""
    for sealed in sealed_tables():
        for name in sealed.columns:
            query = f"SELECT substr({name}, 1, 17) AS head FROM {sealed.table.name} WHERE tenant_id = $1"
            for found in await as_owner(postgres, query, tenant):
                if found["head"] is not None:
                    yield f"{sealed.table.name}.{name}", found["head"]


async def test_columns_hold_what_the_tenants_key_sealed(
    postgres: PostgresServer, database: Database, tenant: UUID, row: Owned
) -> None:
    cipher = await database.keys.cipher(tenant)
    found = [place async for place in heads(postgres, tenant)]
    assert {place for place, head in found if head != cipher.head} == set()
    assert {"executions.inputs", "call_journal.answer", "failures.error_message"} <= {place for place, _ in found}
    async with database.transaction(tenant) as session:
        execution = await ExecutionRepository(session, tenant).get(row.execution)
    assert list((execution.inputs or {}).items()) == [("z", WORDS), ("a", 1)]
    assert execution.error_message == WORDS


async def test_a_row_that_is_given_to_another_tenant_does_not_open(
    postgres: PostgresServer, database: Database, row: Owned
) -> None:
    another = await add_tenant(database)
    given = await add_execution(database, another)
    await as_owner(
        postgres,
        "UPDATE executions SET inputs = (SELECT inputs FROM executions WHERE id = $1) WHERE id = $2",
        *(row.execution, given.execution),
    )
    with pytest.raises(KeyUnavailable):
        async with database.transaction(another) as session:
            await ExecutionRepository(session, another).get(given.execution)


async def test_sealed_values_are_read_inside_a_tenants_transaction_only(database: Database, row: Owned) -> None:
    with pytest.raises(Exception, match="permission denied"):
        async with database.system() as session:
            await session.execute(select(col(Execution.inputs)))
    with pytest.raises(LookupError, match="transaction"):
        Execution.__table__.c.inputs.type.process_result_value(b"\x00{}", None)  # type: ignore[attr-defined]


async def test_an_event_tells_the_checkpoint_that_it_made(database: Database, tenant: UUID, row: Owned) -> None:
    async with database.transaction(tenant) as session:
        session.add(
            ExecutionEvent(tenant_id=tenant, execution_id=row.execution, event_type="step.completed", data={"step": 0})
        )
        event = ExecutionEvent(tenant_id=tenant, execution_id=row.execution, event_type="step.completed")
        event.data, event.checkpoint_number = {"step": 1}, 2
        session.add(event)
    async with database.transaction(tenant) as session:
        events = await EventRepository(session, tenant).list(row.execution)
    assert [event.told for event in events][-2:] == [{"step": 0}, {"step": 1, "checkpoint": 2}]


async def test_after_a_rotation_everything_is_sealed_anew_while_another_process_writes(
    postgres: PostgresServer,
    database: Database,
    other: Database,
    tenant: UUID,
    row: Owned,
    objects: EncryptedStore,
    tmp_path: Path,
) -> None:
    values = ValueStore(objects, inline_bytes=0)
    blob = (await values.put(str(tenant), {"words": WORDS * 5000})).key
    old = await database.keys.cipher(tenant)
    await database.keys.rotate(tenant)
    async with other.transaction(tenant) as session:
        # the other process still seals with the old key, and may for some seconds more
        await EffectRepository(session, tenant).set_status(row.effect, "pending")
        await EffectRepository(session, tenant).settle(row.execution, "4", "done", result=WORDS)
    await age_keys(postgres, tenant)

    shown: list[tuple[str, int | None]] = []
    done = await reseal_tenant(database, objects, tenant, lambda what, total: shown.append((what, total)), _nothing)
    new = await database.keys.cipher(tenant)
    assert new.key_id != old.key_id
    assert (done.rows > 10, done.objects > 2, done.left) == (True, True, 0)
    assert ("executions", 1) in shown
    assert {place for place, head in [found async for found in heads(postgres, tenant)] if head != new.head} <= {
        f"{name}.{column.name}" for name in done.kept for column in Execution.metadata.tables[name].columns
    }
    again = await reseal_tenant(database, objects, tenant, lambda _what, _total: None, _nothing)
    assert (again.rows, again.objects) == (0, 0)

    other.keys.forget(tenant)
    async with other.transaction(tenant) as session:
        execution = await ExecutionRepository(session, tenant).get(row.execution)
        effect = await EffectRepository(session, tenant).get(row.effect)
    assert (execution.error_message, effect.result) == (WORDS, WORDS)
    elsewhere = EncryptedStore(FileStore(tmp_path), other.keys)
    assert await ValueStore(elsewhere, inline_bytes=0).get(str(tenant), blob) == {"words": WORDS * 5000}


async def test_tokens_of_connections_are_sealed_anew(
    postgres: PostgresServer, database: Database, tenant: UUID, objects: EncryptedStore
) -> None:
    old = await database.keys.cipher(tenant)
    connection = ExternalConnection(
        tenant_id=tenant,
        connection_type="crewai_aop",
        connection_name="crew",
        crew_url="https://crew.example.com",
        bearer_token_encrypted=old.seal_token("secret"),
    )
    await add(database, connection, None)
    await database.keys.rotate(tenant)
    await age_keys(postgres, tenant)
    # its values, then its token
    assert (await reseal_tenant(database, objects, tenant, lambda _what, _total: None, _nothing)).rows == 2
    new = await database.keys.cipher(tenant)
    async with database.transaction(tenant) as session:
        token = (await session.get_one(ExternalConnection, connection.id)).bearer_token_encrypted
    assert new.is_current_token(token)
    assert new.open_token(token) == "secret"
    assert (await reseal_tenant(database, objects, tenant, lambda _what, _total: None, _nothing)).rows == 0


async def test_rows_that_somebody_holds_are_left_for_the_next_time(
    postgres: PostgresServer, database: Database, other: Database, tenant: UUID, row: Owned
) -> None:
    await database.keys.rotate(tenant)
    await age_keys(postgres, tenant)
    await database.keys.sealing_since_rotation(tenant)
    failures = next(sealed for sealed in sealed_tables() if sealed.table.name == "failures")
    resealing = Resealing(database, tenant)
    async with other.transaction(tenant) as session:
        await session.execute(select(Failure).with_for_update())
        assert [rows async for rows in resealing.reseal(failures)] == []
    assert await resealing.left(failures) == 1
    assert [rows async for rows in resealing.reseal(failures)] == [1]
    assert await resealing.left(failures) == 0


async def test_plain_values_from_before_are_read_and_sealed(
    postgres: PostgresServer, database: Database, tenant: UUID, row: Owned, objects: EncryptedStore
) -> None:
    plain = b'\x00{"from": "before"}'
    await as_owner(postgres, "UPDATE executions SET inputs = $1 WHERE id = $2", plain, row.execution)

    async def inputs() -> Any:
        async with database.transaction(tenant) as session:
            return (await ExecutionRepository(session, tenant).get(row.execution)).inputs

    assert await inputs() == {"from": "before"}
    await reseal_tenant(database, objects, tenant, lambda _what, _total: None, _nothing)
    [found] = await as_owner(postgres, "SELECT inputs FROM executions WHERE id = $1", row.execution)
    assert (await database.keys.cipher(tenant)).is_current(found["inputs"])
    assert await inputs() == {"from": "before"}


async def test_what_cannot_be_opened_is_named_and_the_rest_is_sealed(
    postgres: PostgresServer, database: Database, tenant: UUID, row: Owned, objects: EncryptedStore, tmp_path: Path
) -> None:
    damage = "UPDATE executions SET metadata = substr(metadata, 1, length(metadata) - 1) WHERE id = $1"
    await as_owner(postgres, damage, row.execution)
    broken = f"{tenant}/aa/broken"
    await FileStore(tmp_path).put(broken, b"?")
    await objects.put(f"{tenant}/aa/whole", b"whole")
    await database.keys.rotate(tenant)
    await age_keys(postgres, tenant)
    done = await reseal_tenant(database, objects, tenant, lambda _what, _total: None, _nothing)
    assert {f"executions.metadata of {row.execution}", f"object {broken}"} <= set(done.unreadable)
    assert done.objects == 1
    new = await database.keys.cipher(tenant)
    [found] = await as_owner(postgres, "SELECT inputs FROM executions WHERE id = $1", row.execution)
    assert new.is_current(found["inputs"])


async def test_nothing_opens_when_the_keys_are_destroyed(
    database: Database, tenant: UUID, row: Owned, objects: EncryptedStore
) -> None:
    await database.keys.destroy(tenant)
    with pytest.raises(TenantErased):
        async with database.transaction(tenant) as session:
            await session.get_one(Effect, row.effect)
    done = await reseal_tenant(database, objects, tenant, lambda _what, _total: None, _nothing)
    assert done.erased


async def test_a_tenant_is_named_by_its_slug_or_its_id(database: Database, tenant: UUID) -> None:
    assert await tenant_named(database, str(tenant)) == tenant
    assert await tenant_named(database, "default") != tenant
    with pytest.raises(NotFound, match="no tenant"):
        await tenant_named(database, "nobody")


def _nothing(_parts: int) -> None:
    """Nobody looks."""
