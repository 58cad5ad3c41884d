"""The store that seals: the contract, and what lies below it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from activities.stores.base import InvalidKey, ObjectMissing, ObjectStore
from activities.stores.blobs import BlobStore
from activities.stores.encrypted import EncryptedStore
from activities.stores.file import FileStore
from omium_core.errors import KeyUnavailable, TenantErased
from omium_core.keyring import Cipher, DataKey
from tests.stores.contract import ObjectStoreContract

TENANT, ANOTHER = UUID(int=7), UUID(int=8)


class Keys:
    """Ciphers of tenants that all have the same key; `rotate` puts another before it."""

    def __init__(self) -> None:
        self._keys = [DataKey(UUID(int=1), bytes(32))]
        self.erased = False

    async def cipher(self, tenant_id: UUID) -> Cipher:
        if self.erased:
            raise TenantErased("gone")
        return Cipher(tenant_id, self._keys[0], tuple(self._keys[1:]))

    def rotate(self) -> None:
        self._keys.insert(0, DataKey(UUID(int=2), bytes([2]) * 32))


class OfTenant:
    """A store for the objects of one tenant, whose id is before all keys."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, data: bytes) -> None:
        await self._store.put(f"{TENANT}/{key}", data)

    async def get(self, key: str) -> bytes:
        try:
            return await self._store.get(f"{TENANT}/{key}")
        except ObjectMissing as error:
            raise ObjectMissing(error.key.partition("/")[2]) from error

    async def exists(self, key: str) -> bool:
        return await self._store.exists(f"{TENANT}/{key}")

    async def delete(self, key: str) -> None:
        await self._store.delete(f"{TENANT}/{key}")

    async def list(self, prefix: str) -> AsyncIterator[str]:
        async for key in self._store.list(f"{TENANT}/{prefix}"):
            yield key.partition("/")[2]


class TestEncryptedStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> OfTenant:
        return OfTenant(EncryptedStore(FileStore(tmp_path / "objects"), Keys()))


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def below(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def store(below: FileStore, keys: Keys) -> EncryptedStore:
    return EncryptedStore(below, keys)


KEY = f"{TENANT}/ab/object"


async def test_nothing_of_an_object_shows_and_its_place_does(store: EncryptedStore, below: FileStore) -> None:
    await store.put(KEY, b"what nobody may read")
    assert b"nobody" not in await below.get(KEY)


async def test_a_blob_that_is_stored_twice_is_one_object(store: EncryptedStore, below: FileStore) -> None:
    data = random.Random(1).randbytes(200_000)
    first = await BlobStore(store, str(TENANT)).put(data)
    objects = {key async for key in below.list("")}
    second = await BlobStore(store, str(TENANT)).put(data)
    assert first == second
    assert {key async for key in below.list("")} == objects
    assert await BlobStore(store, str(TENANT)).get(first.key) == data


@pytest.mark.parametrize("moved_to", [f"{TENANT}/ab/other", f"{ANOTHER}/ab/object"])
async def test_an_object_cannot_stand_in_for_another(store: EncryptedStore, below: FileStore, moved_to: str) -> None:
    await store.put(KEY, b"words")
    await below.put(moved_to, await below.get(KEY))
    with pytest.raises(KeyUnavailable):
        await store.get(moved_to)


async def test_damage_is_noticed(store: EncryptedStore, below: FileStore) -> None:
    await store.put(KEY, b"words")
    stored = await below.get(KEY)
    for damaged in (stored[:-1], stored + b"x", stored[:-1] + bytes([stored[-1] ^ 1]), b"", b"\x33" + stored[1:]):
        await below.put(KEY, damaged)
        with pytest.raises(KeyUnavailable):
            await store.get(KEY)


async def test_blobs_from_before_are_read_and_then_sealed(store: EncryptedStore, below: FileStore) -> None:
    data = random.Random(2).randbytes(100_000)
    ref = await BlobStore(below, str(TENANT)).put(data)
    assert await BlobStore(store, str(TENANT)).get(ref.key) == data
    names = [key async for key in below.list(f"{TENANT}/")]
    assert len(names) > 3
    for name in names:
        assert await store.reseal(name)
        assert not await store.reseal(name)
        assert (await below.get(name))[:1] == b"\x10"
    assert await BlobStore(store, str(TENANT)).get(ref.key) == data


async def test_after_a_rotation_objects_are_read_and_sealed_anew(
    store: EncryptedStore, below: FileStore, keys: Keys
) -> None:
    await store.put(KEY, b"words")
    before = await below.get(KEY)
    keys.rotate()
    assert await store.get(KEY) == b"words"
    assert await store.reseal(KEY)
    assert not await store.reseal(KEY)
    assert (await below.get(KEY))[:18] != before[:18]
    assert await store.get(KEY) == b"words"
    assert not await store.reseal(f"{TENANT}/ab/missing")


async def test_without_keys_objects_can_be_listed_and_deleted_only(store: EncryptedStore, keys: Keys) -> None:
    await store.put(KEY, b"words")
    keys.erased = True
    for call in (store.get(KEY), store.put(KEY, b"x")):
        with pytest.raises(TenantErased):
            await call
    assert [key async for key in store.list(f"{TENANT}/")] == [KEY]
    await store.delete(KEY)
    assert not await store.exists(KEY)


@pytest.mark.parametrize("key", ["tenant/ab", str(TENANT), f"{TENANT.hex}/ab"])
async def test_a_key_without_a_tenant_is_refused(store: EncryptedStore, key: str) -> None:
    with pytest.raises(InvalidKey):
        await store.put(key, b"x")
