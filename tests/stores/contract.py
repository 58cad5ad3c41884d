"""What every object store must do, whatever it is made of.

A store joins by a subclass of `ObjectStoreContract` whose fixture `store` gives an empty one.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from activities.stores.base import InvalidKey, ObjectMissing, ObjectStore
from activities.stores.blobs import BlobStore

NOT_KEYS = ("", "/a", "a/", "a//b", "..", "a/../b", "../a", ".hidden", "a/.b", "a b", "ä", "a\n", "a\0", "a" * 1025)
SIZES = (0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000)


class ObjectStoreContract:
    """The tests; each gets a store that holds nothing."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_gives_back_what_it_was_given(self, store: ObjectStore, size: int) -> None:
        data = random.Random(size).randbytes(size)
        await store.put("tenant/ab/object", data)
        assert await store.get("tenant/ab/object") == data

    async def test_says_which_object_is_missing(self, store: ObjectStore) -> None:
        await store.put("a/b/c", b"1")
        for key in ("a/b/d", "x", "a/b"):
            with pytest.raises(ObjectMissing) as caught:
                await store.get(key)
            assert caught.value.key == key
            assert not await store.exists(key)
        assert await store.exists("a/b/c")

    async def test_a_put_may_be_repeated(self, store: ObjectStore) -> None:
        await store.put("a/b", b"same")
        await store.put("a/b", b"same")
        assert await store.get("a/b") == b"same"
        assert [key async for key in store.list("")] == ["a/b"]

    async def test_deletes_one_object_and_no_other(self, store: ObjectStore) -> None:
        await store.put("a/b", b"1")
        await store.put("a/bc", b"2")
        await store.delete("a/b")
        await store.delete("a/b")
        await store.delete("never/was")
        assert not await store.exists("a/b")
        assert await store.get("a/bc") == b"2"

    async def test_an_object_comes_back_after_it_was_deleted(self, store: ObjectStore) -> None:
        await store.put("a/b", b"1")
        await store.delete("a/b")
        await store.put("a/b", b"1")
        assert await store.get("a/b") == b"1"

    async def test_lists_by_the_beginning_of_the_key(self, store: ObjectStore) -> None:
        for key in ("one/aa/1", "one/aa/2", "one/ab/3", "one-more/4", "two/5"):
            await store.put(key, b"x")
        found = {
            prefix: {key async for key in store.list(prefix)} for prefix in ("", "one", "one/", "one/a", "one/aa/1")
        }
        assert found == {
            "": {"one/aa/1", "one/aa/2", "one/ab/3", "one-more/4", "two/5"},
            "one": {"one/aa/1", "one/aa/2", "one/ab/3", "one-more/4"},
            "one/": {"one/aa/1", "one/aa/2", "one/ab/3"},
            "one/a": {"one/aa/1", "one/aa/2", "one/ab/3"},
            "one/aa/1": {"one/aa/1"},
        }
        assert [key async for key in store.list("three/")] == []

    async def test_lists_more_than_one_page(self, store: ObjectStore) -> None:
        keys = {f"many/{number}" for number in range(12)}
        for key in keys:
            await store.put(key, b"")
        assert {key async for key in store.list("many/")} == keys

    @pytest.mark.parametrize("key", NOT_KEYS)
    async def test_refuses_keys_that_some_store_could_not_hold(self, store: ObjectStore, key: str) -> None:
        for call in (store.put(key, b"x"), store.get(key), store.exists(key), store.delete(key)):
            with pytest.raises(InvalidKey):
                await call

    async def test_two_writers_of_one_key_and_a_reader(self, store: ObjectStore) -> None:
        data = random.Random(7).randbytes(500_000)

        async def read() -> bytes:
            while True:
                try:
                    return await store.get("a/b")
                except ObjectMissing:
                    await asyncio.sleep(0)

        *_, first, second = await asyncio.gather(store.put("a/b", data), store.put("a/b", data), read(), read())
        assert first == second == data

    async def test_carries_blobs(self, store: ObjectStore) -> None:
        data = random.Random(3).randbytes(500_000)
        ref = await BlobStore(store, "tenant").put(data)
        assert await BlobStore(store, "tenant").get(ref.key) == data
