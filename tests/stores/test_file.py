"""The store in a folder: the contract, and processes that die or write at the same time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from activities.stores.base import ObjectStoreUnavailable
from activities.stores.file import FileStore
from tests.stores.contract import ObjectStoreContract
from tests.support.loopback import wait_until

# puts 2 MB objects under their own hash for ever; tells when the first is there
_WRITE_FOR_EVER = """
import asyncio, hashlib, os, sys
from pathlib import Path
from activities.stores.file import FileStore

async def main():
    store = FileStore(Path(sys.argv[1]))
    for first in range(256):
        data = bytes([first]) * 2_000_000
        await store.put(hashlib.sha256(data).hexdigest(), data)
        if first == 0:
            print(flush=True)
    await main()

asyncio.run(main())
"""

# dies of the system's hand in the middle of the write: after the first 100,000 bytes of an object
_DIE_WRITING = """
import asyncio, resource, signal, sys
from pathlib import Path
from activities.stores.file import FileStore

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
asyncio.run(FileStore(Path(sys.argv[1])).put("a/b", bytes(1_000_000)))
"""


class TestFileStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        return FileStore(tmp_path / "objects")


def test_a_put_that_dies_half_way_leaves_no_object_and_the_rest_is_swept(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", _DIE_WRITING, str(tmp_path)], capture_output=True, check=False)
    assert child.returncode == -signal.SIGXFSZ, child.stderr.decode()
    [half] = (tmp_path / ".incoming").iterdir()
    assert half.stat().st_size == 100_000

    assert asyncio.run(everything_in(FileStore(tmp_path))) == {}
    assert half.exists(), "may belong to a process that is alive"

    long_ago = time.time() - 7200
    os.utime(half, (long_ago, long_ago))
    FileStore(tmp_path)
    assert not half.exists()


def test_sigkill_at_any_moment_leaves_whole_objects_only(tmp_path: Path) -> None:
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout
            child.stdout.readline()
            await_a_write_in(tmp_path)
            child.kill()
    objects = asyncio.run(everything_in(FileStore(tmp_path)))
    assert objects
    for key, data in objects.items():
        assert hashlib.sha256(data).hexdigest() == key


def test_two_processes_write_one_key_while_it_is_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path)]
    data = bytes(2_000_000)  # what both write first
    key = hashlib.sha256(data).hexdigest()
    store = FileStore(tmp_path)
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as one,
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as other,
    ):
        try:
            wait_until((tmp_path / key).exists, seconds=60, what="the first object")
            for _ in range(30):
                assert asyncio.run(store.get(key)) == data
            assert one.poll() is None
            assert other.poll() is None
        finally:
            one.kill()
            other.kill()


async def test_a_failing_disk_is_named(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    await store.put("a/b", b"x")
    with pytest.raises(ObjectStoreUnavailable, match=r"'a/b/c'.*(Not a directory|File exists)"):
        await store.put("a/b/c", b"an object cannot be a folder")
    assert unfinished_in(tmp_path) == set()


async def test_objects_are_private_to_the_user(tmp_path: Path) -> None:
    await FileStore(tmp_path / "root").put("a/b", b"x")
    assert (tmp_path / "root").stat().st_mode & 0o077 == 0
    assert (tmp_path / "root/a/b").stat().st_mode & 0o077 == 0


def await_a_write_in(root: Path) -> None:
    left_by_the_dead = unfinished_in(root)
    wait_until(lambda: bool(unfinished_in(root) - left_by_the_dead), seconds=60, what="a write")


def unfinished_in(root: Path) -> set[Path]:
    return set((root / ".incoming").iterdir())


async def everything_in(store: FileStore) -> dict[str, bytes]:
    return {key: await store.get(key) async for key in store.list("")}
