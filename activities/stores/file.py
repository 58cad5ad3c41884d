"""Objects as plain files under one folder: the store of `omium up`, and of tests that need no server.

An object is written beside the others and renamed into place, so that no reader, and no crash of this process, ever
meets half of one. Nothing is flushed to the disk: after a power cut the last writes may be lost, as with the
development server of Temporal that this store is used with.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from activities.stores.base import ObjectMissing, ObjectStoreUnavailable, check_key, check_prefix

#: Up to this many bytes, reading or writing takes less time than handing the work to a thread.
INLINE_BYTES = 64 * 1024

T = TypeVar("T")

# what the system says where no object is: nothing, a folder, or a path that leads through an object
_NO_OBJECT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

# keys cannot begin with a dot, so no object can have this name
_INCOMING = ".incoming"
_ABANDONED_SECONDS = 3600.0


class FileStore:
    """An `ObjectStore` in a folder; any number of processes on one machine may use it at once."""

    def __init__(self, root: Path) -> None:
        """Makes the folder if there is none; raises `OSError` when that cannot be done."""
        self._root = root.absolute()
        # one folder for unfinished files, on the same file system: what a crash leaves behind is found without a search
        self._incoming = self._root / _INCOMING
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        self._sweep()

    async def put(self, key: str, data: bytes) -> None:
        await _here_or_in_thread(len(data), partial(self._write, check_key(key), data))

    async def get(self, key: str) -> bytes:
        size = self._size(check_key(key))
        if size is None:
            raise ObjectMissing(key)
        return await _here_or_in_thread(size, partial(self._read, key))

    async def exists(self, key: str) -> bool:
        return self._size(check_key(key)) is not None

    async def written_at(self, key: str) -> datetime | None:
        with self._explained(check_key(key)), suppress(*_NO_OBJECT):
            return datetime.fromtimestamp((self._root / key).stat().st_mtime, UTC)
        return None

    async def delete(self, key: str) -> None:
        with self._explained(check_key(key)), suppress(*_NO_OBJECT):
            (self._root / key).unlink()

    async def list(self, prefix: str) -> AsyncIterator[str]:
        waiting = [check_prefix(prefix).rpartition("/")[0]]
        while waiting:
            folder = waiting.pop()
            with self._explained(folder):
                folders, keys = await asyncio.to_thread(_scan, self._root, folder)
            waiting += [inner for inner in folders if inner.startswith(prefix)]
            for key in keys:
                if key.startswith(prefix):
                    yield key

    def _write(self, key: str, data: bytes) -> None:
        target, unfinished = self._root / key, self._incoming / uuid4().hex
        with self._explained(key):
            try:
                with open(unfinished, "xb", opener=_private) as file:
                    file.write(data)
                try:
                    unfinished.replace(target)
                except FileNotFoundError:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    unfinished.replace(target)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise

    def _read(self, key: str) -> bytes:
        with self._explained(key):
            try:
                return (self._root / key).read_bytes()
            except FileNotFoundError as error:  # deleted since its size was read
                raise ObjectMissing(key) from error

    def _size(self, key: str) -> int | None:
        """Bytes of an object; None when there is none."""
        with self._explained(key), suppress(*_NO_OBJECT):
            status = (self._root / key).stat()
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def _sweep(self) -> None:
        """Removes what processes that died in the middle of a put have left; another one's put may be under way."""
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ObjectStoreUnavailable(f"Object {key!r} in {self._root}: {error.strerror or error}.") from error


async def _here_or_in_thread(size: int, work: Callable[[], T]) -> T:
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def _scan(root: Path, folder: str) -> tuple[list[str], list[str]]:
    """Keys of the folders, and of the objects, directly inside a folder."""
    folders: list[str] = []
    keys: list[str] = []
    with suppress(*_NO_OBJECT), os.scandir(root / folder) as entries:
        for entry in entries:
            if entry.name != _INCOMING:
                (folders if entry.is_dir() else keys).append(f"{folder}/{entry.name}" if folder else entry.name)
    return folders, keys


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
