"""JSON values of any size: small ones stay in their row, large ones become blobs.

States, inputs and outputs go through here, so that they are written the same way (sorted keys, no spaces) and a part that
an output shares with the state before it is stored once.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from activities.stores.base import ObjectStore
from activities.stores.blobs import BlobRef, BlobStore

#: From this size on, reading and writing JSON would keep the event loop from others for milliseconds.
THREAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """A value in its row (`inline`) or in the object store (`blob`, a hash)."""

    inline: Any = None
    blob: str | None = None


class ValueStore:
    """JSON values of all tenants over one object store. Belongs to one event loop."""

    def __init__(self, objects: ObjectStore, *, inline_bytes: int) -> None:
        self._objects = objects
        self._inline_bytes = inline_bytes
        self._blobs: LRUCache[str, BlobStore] = LRUCache(maxsize=32)

    @property
    def objects(self) -> ObjectStore:
        """Where the blobs lie, for those who keep other things there."""
        return self._objects

    def _of(self, tenant_id: str) -> BlobStore:
        store = self._blobs.get(tenant_id)
        if store is None:
            store = self._blobs[tenant_id] = BlobStore(self._objects, tenant_id)
        return store

    async def put(self, tenant_id: str, value: Any) -> BlobRef:
        """Stores a value as a blob, whatever its size. Raises TypeError or ValueError for what is no JSON."""
        return await self._of(tenant_id).put(await asyncio.to_thread(dump, value) if _is_large(value) else dump(value))

    async def get(self, tenant_id: str, blob: str) -> Any:
        """The value of a blob; raises `CheckpointCorrupted` when its bytes are gone or changed."""
        data = await self._of(tenant_id).get(blob)
        return json.loads(data) if len(data) < THREAD_BYTES else await asyncio.to_thread(json.loads, data)

    async def keep(self, tenant_id: str, value: Any) -> Stored:
        """Stores a value in the row if it is small enough for one, else as a blob."""
        data = dump(value)
        if len(data) <= self._inline_bytes:
            return Stored(inline=value)
        return Stored(blob=(await self._of(tenant_id).put(data)).key)

    async def read(self, tenant_id: str, stored: Stored) -> Any:
        return stored.inline if stored.blob is None else await self.get(tenant_id, stored.blob)


def dump(value: Any) -> bytes:
    """Canonical JSON: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _is_large(value: Any) -> bool:
    """A cheap guess: whether a state holds a long text or list on its upper two levels."""
    if not isinstance(value, dict):
        return False
    layers = [value, *(inner for inner in value.values() if isinstance(inner, dict))]
    return any(isinstance(inner, (str, list)) and len(inner) > 10_000 for layer in layers for inner in layer.values())
