"""Objects that only their tenant's key opens, over any store.

The first segment of a key names the tenant. An object is bound to the tenant and to its whole key, so that none can stand in
for another. What was stored before objects were sealed is read as it is: the first byte says which of the two it is.
Names stay as they are, and so does what is shared: an object is written under the same key however often, sealed anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from activities.stores.base import InvalidKey, ObjectMissing, ObjectStore, check_key
from omium_core.errors import KeyUnavailable
from omium_core.keyring import Cipher

T = TypeVar("T")

#: The first byte of a sealed object. Blobs begin with other ones (`activities/stores/blobs.py`).
SEALED = b"\x10"
_PLAIN_BLOBS = (b"\x01", b"\x02")

#: From this size on, sealing would keep the event loop from others for a tenth of a millisecond or more.
THREAD_BYTES = 256 * 1024


class Keys(Protocol):
    """Where the ciphers of tenants come from: `models.keyring.TenantKeyring`."""

    async def cipher(self, tenant_id: UUID) -> Cipher: ...


class EncryptedStore:
    """An `ObjectStore` whose keys begin with the id of a tenant. Names can be listed and deleted without any key.

    Reading and writing raise `TenantErased` when the tenant's keys are destroyed, and `KeyUnavailable` for an object that is
    damaged, or sealed by a key that is gone.
    """

    def __init__(self, objects: ObjectStore, keys: Keys) -> None:
        self._objects = objects
        self._keys = keys

    async def put(self, key: str, data: bytes) -> None:
        cipher = await self._cipher(key)
        sealed = await _here_or_in_thread(len(data), lambda: SEALED + cipher.seal(data, _context(key)))
        await self._objects.put(key, sealed)

    async def get(self, key: str) -> bytes:
        return await self._open(key, await self._objects.get(check_key(key)))

    async def exists(self, key: str) -> bool:
        return await self._objects.exists(key)

    async def written_at(self, key: str) -> datetime | None:
        return await self._objects.written_at(key)

    async def delete(self, key: str) -> None:
        await self._objects.delete(key)

    def list(self, prefix: str) -> AsyncIterator[str]:
        return self._objects.list(prefix)

    async def reseal(self, key: str) -> bool:
        """Seals an object with the tenant's present key; False if that was done before, or the object is gone."""
        cipher = await self._cipher(key)
        try:
            stored = await self._objects.get(key)
        except ObjectMissing:
            return False
        if stored[:1] == SEALED and cipher.is_current(stored[1:]):
            return False
        await self.put(key, await self._open(key, stored))
        return True

    async def _open(self, key: str, stored: bytes) -> bytes:
        cipher = await self._cipher(key)
        if stored[:1] == SEALED:
            return await _here_or_in_thread(len(stored), lambda: cipher.open(stored[1:], _context(key)))
        if stored[:1] in _PLAIN_BLOBS:
            return stored
        raise KeyUnavailable("An object is neither sealed nor a blob from before objects were sealed.")

    async def _cipher(self, key: str) -> Cipher:
        tenant, slash, _ = check_key(key).partition("/")
        try:
            tenant_id = UUID(tenant)
        except ValueError:
            raise InvalidKey(f"the key names no tenant: {key[:100]!r}") from None
        if not slash or str(tenant_id) != tenant:
            raise InvalidKey(f"the key names no tenant: {key[:100]!r}")
        return await self._keys.cipher(tenant_id)


def _context(key: str) -> bytes:
    return b"object " + key.encode()


async def _here_or_in_thread(size: int, work: Callable[[], T]) -> T:
    return work() if size <= THREAD_BYTES else await asyncio.to_thread(work)
