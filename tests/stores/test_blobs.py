"""Blobs: what is put comes back or is known to be damaged, and what does not change is stored once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.stores.blobs import CHUNK_MAX, RECENT_BYTES, WHOLE_BYTES, BlobRef, BlobStore
from activities.stores.file import FileStore
from omium_core.errors import CheckpointCorrupted

TENANT = "0198f6a0-0000-7000-8000-000000000001"


@pytest.fixture
def objects(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def stored(root: Path) -> dict[str, int]:
    """Size of each object in a folder, by its key."""
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def growing_states() -> Iterator[bytes]:
    """A state of 1 MB that nothing compresses by more than half, and 20 later ones, each 120 bytes longer."""
    chance = random.Random(20)
    state = {"documents": [chance.randbytes(250).hex() for _ in range(1990)], "records": list[str]()}
    for _ in range(21):
        yield json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
        state["records"].append(chance.randbytes(59).hex())


async def test_a_state_that_grows_for_20_steps_is_stored_once(objects: FileStore, tmp_path: Path) -> None:
    blobs = BlobStore(objects, TENANT)
    refs = [(state, await blobs.put(state)) for state in growing_states()]
    assert len(refs[0][0]) > 990_000
    total = sum(stored(tmp_path).values())
    assert total < 700_000, "the first state alone takes over half a megabyte"
    fresh = BlobStore(objects, TENANT)
    for state, ref in refs:
        assert await fresh.get(ref.key) == state
        assert ref.size == len(state)


@pytest.mark.parametrize("size", [0, 1, WHOLE_BYTES, WHOLE_BYTES + 1, CHUNK_MAX, CHUNK_MAX + 1, 2_000_000])
@pytest.mark.parametrize("content", ["noise", "zeros"])
async def test_any_size_comes_back(objects: FileStore, size: int, content: str) -> None:
    data = random.Random(size).randbytes(size) if content == "noise" else bytes(size)
    ref = await BlobStore(objects, TENANT).put(data)
    assert await BlobStore(objects, TENANT).get(ref.key) == data


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    length=st.integers(40_000, 300_000),
    at=st.floats(0, 1),
    insertion=st.binary(max_size=300),
)
def test_storing_again_adds_nothing_and_an_edit_keeps_what_lies_before_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, length: int, at: float, insertion: bytes
) -> None:
    root = tmp_path_factory.mktemp("objects")
    data = random.Random(seed).randbytes(length)
    place = int(at * length)
    edited = data[:place] + insertion + data[place:]

    async def run() -> None:
        store = FileStore(root)
        first = await BlobStore(store, TENANT).put(data)
        before = stored(root)
        assert await BlobStore(store, TENANT).put(data) == first
        assert stored(root) == before
        second = await BlobStore(store, TENANT).put(edited)
        fresh = BlobStore(store, TENANT)
        assert (await fresh.get(first.key), await fresh.get(second.key)) == (data, edited)
        added = sum(stored(root).values()) - sum(before.values())
        # random bytes do not compress: the chunk of the edit and all after it, with its overhead, and no more
        assert added <= len(edited) - place + CHUNK_MAX + 20_000

    asyncio.run(run())


async def test_an_insertion_at_the_front_moves_the_cuts_with_it(objects: FileStore, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(1_000_000)
    await BlobStore(objects, TENANT).put(data)
    before = sum(stored(tmp_path).values())
    await BlobStore(objects, TENANT).put(b"three" + data)
    assert sum(stored(tmp_path).values()) - before < 4 * CHUNK_MAX


async def test_a_chunk_that_is_also_a_blob_is_one_object(objects: FileStore, tmp_path: Path) -> None:
    await BlobStore(objects, TENANT).put(random.Random(4).randbytes(400_000))
    keys = [Path(name).name for name in stored(tmp_path)]
    for key in keys:
        content = await BlobStore(objects, TENANT).get(key)
        before = stored(tmp_path)
        assert await BlobStore(objects, TENANT).put(content) == BlobRef(key, len(content))
        assert stored(tmp_path) == before


async def test_what_was_just_written_is_read_without_the_store(objects: FileStore, tmp_path: Path) -> None:
    blobs = BlobStore(objects, TENANT)
    ref = await blobs.put(b"x" * 100_000)
    for name in stored(tmp_path):
        (tmp_path / name).unlink()
    assert await blobs.get(ref.key) == b"x" * 100_000


async def test_more_than_the_memory_holds_is_stored_too(objects: FileStore) -> None:
    data = bytes(RECENT_BYTES + 1)
    blobs = BlobStore(objects, TENANT)
    ref = await blobs.put(data)
    assert await blobs.get(ref.key) == data


async def test_tenants_share_nothing(objects: FileStore) -> None:
    ref = await BlobStore(objects, TENANT).put(b"secret")
    with pytest.raises(CheckpointCorrupted):
        await BlobStore(objects, "another").get(ref.key)


@pytest.mark.parametrize("size", [100, 400_000])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "delete", "swap"])
async def test_damage_of_any_object_is_found_out_and_mended_by_storing_again(
    objects: FileStore, tmp_path: Path, size: int, damage: str
) -> None:
    data = random.Random(size).randbytes(size)
    ref = await BlobStore(objects, TENANT).put(data)
    other = await BlobStore(objects, "another").put(b"other")
    foreign = await objects.get(f"another/{other.key[:2]}/{other.key}")
    mine = sorted(key for key in stored(tmp_path) if key.startswith(TENANT))
    for key in mine:
        content = await objects.get(key)
        middle = len(content) // 2
        broken = {
            "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "cut": content[:-1],
            "empty": b"",
            "delete": None,
            "swap": foreign,
        }[damage]
        await objects.delete(key) if broken is None else await objects.put(key, broken)
        with pytest.raises(CheckpointCorrupted):
            await BlobStore(objects, TENANT).get(ref.key)
        await BlobStore(objects, TENANT).put(data)
        assert await BlobStore(objects, TENANT).get(ref.key) == data


async def test_a_manifest_that_names_itself_is_damage(objects: FileStore, tmp_path: Path) -> None:
    ref = await BlobStore(objects, TENANT).put(b"x")
    await objects.put(f"{TENANT}/{ref.key[:2]}/{ref.key}", b"\x02" + bytes.fromhex(ref.key))
    with pytest.raises(CheckpointCorrupted):
        await BlobStore(objects, TENANT).get(ref.key)


@pytest.mark.parametrize("ref", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65])
async def test_a_reference_that_is_none_is_refused(objects: FileStore, ref: str) -> None:
    with pytest.raises(CheckpointCorrupted, match="no reference"):
        await BlobStore(objects, TENANT).get(ref)
