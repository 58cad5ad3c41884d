"""Byte strings under the hash of their content: what does not change from one state to the next is stored once.

Large data is cut where its content says so (not every n bytes), so that an insertion moves the cuts with it and only the
chunks that it touches are new. Chunks are compressed one by one; a manifest lists them. All lie side by side under
`<tenant>/<first 2 digits>/<sha256 of the content>`, and an object's first byte says which of the two it is.

A key that this process has lately written or read is not written again for `KNOWN_SECONDS`. Whoever removes objects that
nothing refers to must therefore spare those that were written, or still referred to, within two of these periods.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import zstandard
from cachetools import LRUCache, TTLCache
from pyfastcdc import FastCDC

from activities.stores.base import ObjectMissing, ObjectStore
from omium_core.errors import CheckpointCorrupted

T = TypeVar("T")
A = TypeVar("A")

#: Data up to this size is one object.
WHOLE_BYTES = 16 * 1024
# Measured with 1 MB states that grow by 120 bytes a step: smaller chunks make the manifests heavier, larger ones
# the changed chunks. The real average is the sum of the smallest size and the "average".
CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX = 2 * 1024, 8 * 1024, 32 * 1024

KNOWN_KEYS, KNOWN_SECONDS = 100_000, 3600.0
RECENT_BYTES = 64 * 1024 * 1024

#: From this size on, hashing and compressing would keep the event loop from others for milliseconds.
THREAD_BYTES = 64 * 1024

_RAW, _MANIFEST = b"\x01", b"\x02"
_DIGEST_BYTES = hashlib.sha256().digest_size
_REF = re.compile(r"[0-9a-f]{64}")
# a chunk is one object itself unless the sizes above were changed since; deeper can only be damage
_DEEPEST = 2
_LEVEL = 3  # the library's own default
_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class BlobRef:
    """`key` is the hexadecimal sha256 of the content, `size` its length in bytes."""

    key: str
    size: int


class BlobStore:
    """The blobs of one tenant in an object store. Used from one event loop; keeps up to `RECENT_BYTES` in memory."""

    def __init__(self, objects: ObjectStore, tenant_id: str) -> None:
        self._objects = objects
        self._tenant_id = tenant_id
        self._known: TTLCache[str, bool] = TTLCache(KNOWN_KEYS, KNOWN_SECONDS)
        self._recent: LRUCache[str, bytes] = LRUCache(RECENT_BYTES, getsizeof=len)

    async def put(self, data: bytes) -> BlobRef:
        """Stores `data` unless it is there. Idempotent; when it returns, every part of it is stored."""
        key, chunks = await _here_or_in_thread(len(data), lambda: _cut(data))
        if key not in self._known:
            new = {name: chunk for name, chunk in chunks if name not in self._known}
            new_bytes = sum(map(len, new.values()))
            packed = await _here_or_in_thread(new_bytes, lambda: [(name, _pack(chunk)) for name, chunk in new.items()])
            await _in_batches(self._put_object, packed)
            if len(chunks) > 1:
                # last, so that a manifest never names a chunk that is not stored
                await self._put_object((key, _MANIFEST + bytes.fromhex("".join(name for name, _ in chunks))))
        self._remember(key, data)
        return BlobRef(key, len(data))

    async def get(self, ref: str) -> bytes:
        """The bytes whose `BlobRef.key` is `ref`; raises `CheckpointCorrupted` when they are gone or changed."""
        if (recent := self._recent.get(ref)) is not None:
            return recent
        if not _REF.fullmatch(ref):
            raise CheckpointCorrupted(f"{ref[:100]!r} is no reference to a blob.")
        leaves = await self._leaves(ref)
        size = sum(len(packed) for _, packed in leaves)
        data = await _here_or_in_thread(size, lambda: _join(ref, leaves))
        self._known.update(dict.fromkeys((name for name, _ in leaves), True))
        self._remember(ref, data)
        return data

    async def parts(self, ref: str, depth: int = 0) -> set[str]:
        """The keys of all objects that a blob is made of, its own among them; only that one when the rest cannot be read."""
        try:
            stored = await self._objects.get(self._path(ref))
        except ObjectMissing:
            return {ref}
        if stored[:1] != _MANIFEST or depth == _DEEPEST:
            return {ref}
        names = {stored[at : at + _DIGEST_BYTES].hex() for at in range(1, len(stored), _DIGEST_BYTES)}
        # a chunk may be cut itself, if the sizes above were changed since
        inner = await _in_batches(lambda name: self.parts(name, depth + 1), names)
        return {ref}.union(*inner)

    async def _leaves(self, key: str, depth: int = 0) -> list[tuple[str, bytes]]:
        """The packed chunks of a blob, in order, each with its key."""
        try:
            stored = await self._objects.get(self._path(key))
        except ObjectMissing as error:
            raise CheckpointCorrupted(f"Object {error.key} is gone.", object=error.key) from error
        kind, body = stored[:1], stored[1:]
        if kind == _RAW:
            return [(key, body)]
        if kind != _MANIFEST or depth == _DEEPEST or not body or len(body) % _DIGEST_BYTES:
            raise _damaged(key)
        names = [body[at : at + _DIGEST_BYTES].hex() for at in range(0, len(body), _DIGEST_BYTES)]
        unique = list(dict.fromkeys(names))
        found = dict(zip(unique, await _in_batches(lambda name: self._leaves(name, depth + 1), unique), strict=True))
        return [leaf for name in names for leaf in found[name]]

    async def _put_object(self, item: tuple[str, bytes]) -> None:
        key, packed = item
        await self._objects.put(self._path(key), packed)
        self._known[key] = True

    def _path(self, key: str) -> str:
        return f"{self._tenant_id}/{key[:2]}/{key}"

    def _remember(self, key: str, data: bytes) -> None:
        if len(data) <= RECENT_BYTES:
            self._recent[key] = data


def _cut(data: bytes) -> tuple[str, list[tuple[str, memoryview]]]:
    """The key of `data`, and its chunks in order, each with its key; one chunk with the same key when it is small."""
    key = hashlib.sha256(data).hexdigest()
    if len(data) <= WHOLE_BYTES:
        return key, [(key, memoryview(data))]
    cutter = FastCDC(CHUNK_AVERAGE, min_size=CHUNK_MIN, max_size=CHUNK_MAX)
    pieces = [chunk.data for chunk in cutter.cut_buf(data)]
    return key, [(hashlib.sha256(piece).hexdigest(), piece) for piece in pieces]


def _pack(chunk: memoryview) -> bytes:
    return _RAW + zstandard.compress(chunk, _LEVEL)


def _join(ref: str, leaves: list[tuple[str, bytes]]) -> bytes:
    """Unpacks chunks and puts them together, trusting none of them, nor their order."""
    chunks = []
    for key, packed in leaves:
        try:
            # a damaged header may claim any size: never reserve more than a chunk can have
            if zstandard.frame_content_size(packed) > max(WHOLE_BYTES, CHUNK_MAX):
                raise _damaged(key)
            chunk = zstandard.decompress(packed)
        except zstandard.ZstdError as error:
            raise _damaged(key) from error
        if hashlib.sha256(chunk).hexdigest() != key:
            raise _damaged(key)
        chunks.append(chunk)
    data = b"".join(chunks)
    if hashlib.sha256(data).hexdigest() != ref:
        raise _damaged(ref)
    return data


def _damaged(key: str) -> CheckpointCorrupted:
    return CheckpointCorrupted(f"What is stored as {key} does not have this hash.", object=key)


async def _here_or_in_thread(size: int, work: Callable[[], T]) -> T:
    return work() if size <= THREAD_BYTES else await asyncio.to_thread(work)


async def _in_batches(work: Callable[[A], Awaitable[T]], items: Iterable[A]) -> list[T]:
    """`work` on all items, some at a time: the object store is not flooded, and the event loop can serve others."""
    results: list[T] = []
    waiting = iter(items)
    while batch := list(islice(waiting, _PARALLEL)):
        results += await asyncio.gather(*map(work, batch))
    return results
