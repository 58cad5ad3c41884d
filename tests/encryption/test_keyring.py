"""Keys of tenants: made once, rotated without a gap, destroyed for ever; and the master key that wraps them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID

import boto3
import pytest
from moto import mock_aws

from models import keyring
from models.database import Database
from models.startup import check_master_key
from omium_core.errors import ConfigurationError, KeyUnavailable, TenantErased, Unavailable
from omium_core.keyring import MasterKeys, Wrappers, new_master_key
from omium_core.kms import KmsKeys
from omium_core.master_keys import open_master_keys
from omium_core.settings import DEVELOPMENT_MASTER_KEY, Settings
from tests.encryption.support import age_keys, as_owner
from tests.support.database import PostgresServer
from tests.support.tenants import add_tenant


async def test_processes_that_ask_at_once_share_the_first_key(
    database: Database, other: Database, tenant: UUID
) -> None:
    ciphers = await asyncio.gather(*(where.keys.cipher(tenant) for where in (database, other) * 5))
    assert len({cipher.key_id for cipher in ciphers}) == 1


async def test_a_new_key_opens_everywhere_before_it_seals(
    postgres: PostgresServer, database: Database, other: Database, tenant: UUID
) -> None:
    old = await other.keys.cipher(tenant)
    new_id = await database.keys.rotate(tenant)
    assert (await database.keys.cipher(tenant)).key_id == old.key_id, "another process may not know the new one yet"

    # the other process has read its keys again by the time the new one seals
    other.keys.forget(tenant)
    known = await other.keys.cipher(tenant)
    await age_keys(postgres, tenant)
    database.keys.forget(tenant)
    sealing = await database.keys.cipher(tenant)
    assert sealing.key_id == new_id
    assert known.open(sealing.seal(b"new")) == b"new"
    assert sealing.open(old.seal(b"old")) == b"old"


def test_every_process_reads_its_keys_again_before_a_new_one_seals() -> None:
    assert keyring.RIPE_SECONDS >= 3 * keyring.MEMORY_SECONDS


async def test_waiting_for_a_new_key_to_seal(
    postgres: PostgresServer, database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await database.keys.sealing_since_rotation(tenant)
    new_id = await database.keys.rotate(tenant)
    monkeypatch.setattr(keyring, "MEMORY_SECONDS", 0.04)
    waiting = asyncio.create_task(database.keys.sealing_since_rotation(tenant))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await age_keys(postgres, tenant)
    assert (await waiting).key_id == new_id != first.key_id


async def test_destroyed_keys_are_gone_everywhere_and_none_is_made_again(
    postgres: PostgresServer, database: Database, other: Database, tenant: UUID
) -> None:
    await database.keys.cipher(tenant)
    await database.keys.rotate(tenant)
    await other.keys.cipher(tenant)
    await database.keys.destroy(tenant)
    await database.keys.destroy(tenant)
    rows = await as_owner(postgres, "SELECT wrapped_key, destroyed_at FROM tenant_keys WHERE tenant_id = $1", tenant)
    assert [row["wrapped_key"] for row in rows] == [None, None]
    with pytest.raises(TenantErased):
        await database.keys.cipher(tenant)
    with pytest.raises(TenantErased):
        await database.keys.rotate(tenant)

    async def refused() -> None:
        while True:
            await other.keys.cipher(tenant)
            await asyncio.sleep(0.05)

    with pytest.raises(TenantErased):
        await asyncio.wait_for(refused(), keyring.MEMORY_SECONDS + 1)


async def test_a_tenant_that_never_had_a_key_gets_none_after_it_was_erased(database: Database, tenant: UUID) -> None:
    await database.keys.destroy(tenant)
    with pytest.raises(TenantErased):
        await database.keys.cipher(tenant)


async def test_the_application_cannot_see_keys(database: Database, tenant: UUID) -> None:
    await database.keys.cipher(tenant)
    with pytest.raises(Exception, match="permission denied"):
        async with database.transaction(tenant) as session:
            await session.execute(keyring._SAMPLES)


async def test_the_master_key_is_rotated_while_others_work(postgres: PostgresServer, database: Database) -> None:
    tenants = [await add_tenant(database) for _ in range(3)]
    sealed = {tenant: (await database.keys.cipher(tenant)).seal(b"words") for tenant in tenants}
    await database.keys.destroy(tenants[2])
    new = new_master_key()
    both = Database(postgres.url, MasterKeys(f"{new},{DEVELOPMENT_MASTER_KEY}"), pool_size=2)
    alone = Database(postgres.url, MasterKeys(new), pool_size=2)
    back = Database(postgres.url, MasterKeys(f"{DEVELOPMENT_MASTER_KEY},{new}"), pool_size=2)
    try:
        with pytest.raises(ConfigurationError, match="OMIUM_MASTER_KEY"):
            await check_master_key(alone)
        assert await both.keys.rewrap() >= 2
        assert await both.keys.rewrap() == 0
        await check_master_key(alone)
        for tenant in tenants[:2]:
            assert (await alone.keys.cipher(tenant)).open(sealed[tenant]) == b"words"
        with pytest.raises(TenantErased):
            await alone.keys.cipher(tenants[2])
    finally:
        # others use this database too
        await back.keys.rewrap()
        for opened in (both, alone, back):
            await opened.close()


async def test_a_process_comes_up_while_the_database_is_away() -> None:
    away = Database("postgresql+asyncpg://omium@127.0.0.1:1/omium", MasterKeys(new_master_key()))
    await check_master_key(away)
    await away.close()


@pytest.fixture
def kms_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ARNs of two keys in KMS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        kms = boto3.client("kms", region_name="eu-west-1")
        keys = [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
        kms.create_alias(AliasName="alias/omium", TargetKeyId=keys[0])
        yield keys


async def test_kms_wraps_and_unwraps_and_binds_to_the_context(kms_keys: list[str]) -> None:
    named, by_alias = (KmsKeys(key, region="eu-west-1") for key in (kms_keys[0], "alias/omium"))
    master, wrapped = await by_alias.wrap(b"k" * 32, b"context")
    assert master == f"kms:{kms_keys[0].rpartition('/')[2]}"
    assert b"k" * 32 not in wrapped
    assert len(master) <= 64, "it must fit its column"
    for holder in (named, by_alias, KmsKeys(kms_keys[1], region="eu-west-1")):
        assert holder.holds(master)
        assert await holder.unwrap(master, wrapped, b"context") == b"k" * 32
    for master_id, context in ((master, b"another"), ("kms:another", b"context")):
        with pytest.raises(KeyUnavailable):
            await named.unwrap(master_id, wrapped, context)
    with pytest.raises(KeyUnavailable, match="NotFoundException"):
        await KmsKeys("00000000-0000-0000-0000-000000000000", region="eu-west-1").wrap(b"k", b"")


async def test_kms_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    away = KmsKeys("key", region="eu-west-1", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="KMS cannot be reached"):
        await away.wrap(b"k", b"")


async def test_an_installation_moves_from_its_own_master_key_to_kms(
    postgres: PostgresServer, database: Database, tenant: UUID, kms_keys: list[str]
) -> None:
    sealed = (await database.keys.cipher(tenant)).seal(b"words")
    wrapper = open_master_keys(Settings(kms_key_id=kms_keys[0], kms_region="eu-west-1"))
    assert isinstance(wrapper, Wrappers)
    moved = Database(postgres.url, wrapper, pool_size=2)
    only_kms = Database(postgres.url, KmsKeys(kms_keys[0], region="eu-west-1"), pool_size=2)
    back = Database(
        postgres.url, Wrappers(MasterKeys(DEVELOPMENT_MASTER_KEY), KmsKeys(kms_keys[0], region="eu-west-1"))
    )
    try:
        await moved.keys.rewrap()
        assert (await only_kms.keys.cipher(tenant)).open(sealed) == b"words"
    finally:
        await back.keys.rewrap()
        for opened in (moved, only_kms, back):
            await opened.close()
