"""The keys of tenants: read from the database, unwrapped with the master key, remembered for a few seconds."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from cachetools import TTLCache
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.base import new_id, now
from omium_core.errors import TenantErased
from omium_core.keyring import KEY_BYTES, Cipher, DataKey, KeyWrapper

#: A key that was rotated or destroyed is forgotten by every process within this many seconds.
MEMORY_SECONDS = 2.0

_READ = text("""
SELECT id, master_key_id, wrapped_key, destroyed_at FROM tenant_keys WHERE tenant_id = :tenant ORDER BY id DESC
""")
_ADD = text("""
INSERT INTO tenant_keys (id, tenant_id, master_key_id, wrapped_key, created_at)
VALUES (:id, :tenant, :master, :wrapped, :now)
""")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tenant-key ' || :tenant, 0))")


class SystemDoor(Protocol):
    """What the keyring needs of a `Database`: a transaction that belongs to no tenant."""

    def system(self) -> AbstractAsyncContextManager[AsyncSession]: ...


class TenantKeyring:
    """Ciphers by tenant. Belongs to the event loop of its database."""

    def __init__(self, database: SystemDoor, wrapper: KeyWrapper) -> None:
        self._database = database
        self._wrapper = wrapper
        self._known: TTLCache[UUID, Cipher] = TTLCache(maxsize=10_000, ttl=MEMORY_SECONDS)
        # unwrapping may ask a service over the network: a key that was unwrapped once is not unwrapped again
        self._unwrapped: TTLCache[UUID, DataKey] = TTLCache(maxsize=10_000, ttl=300)
        self._reading: dict[UUID, asyncio.Task[Cipher]] = {}

    async def cipher(self, tenant_id: UUID) -> Cipher:
        """The tenant's cipher; its first key is made when there is none. Raises `TenantErased`, `KeyUnavailable`."""
        known = self._known.get(tenant_id)
        if known is not None:
            return known
        task = self._reading.get(tenant_id)
        if task is None:
            task = asyncio.create_task(self._read(tenant_id))
            self._reading[tenant_id] = task
            task.add_done_callback(lambda _: self._reading.pop(tenant_id, None))
        return await asyncio.shield(task)

    def forget(self, tenant_id: UUID) -> None:
        """After a change of the tenant's keys in this process."""
        known = self._known.pop(tenant_id, None)
        if known is not None:
            self._unwrapped.clear()

    async def rotate(self, tenant_id: UUID) -> UUID:
        """Makes a new key, which seals from now on everywhere within `MEMORY_SECONDS`. Its id."""
        async with self._database.system() as session:
            key = await self._add(session, tenant_id)
        self.forget(tenant_id)
        return key.id

    async def _read(self, tenant_id: UUID) -> Cipher:
        async with self._database.system() as session:
            rows = (await session.execute(_READ, {"tenant": tenant_id})).all()
            if not rows:
                # one process makes the first key, the others wait for it
                await session.execute(_LOCK, {"tenant": str(tenant_id)})
                rows = (await session.execute(_READ, {"tenant": tenant_id})).all()
            made = None if rows else await self._add(session, tenant_id)
        alive = [row for row in rows if row.destroyed_at is None]
        if rows and not alive:
            raise TenantErased("What this tenant stored was erased: its keys are destroyed.")
        keys = (
            [made]
            if made
            else [await self._unwrap(tenant_id, row.id, row.master_key_id, row.wrapped_key) for row in alive]
        )
        cipher = Cipher(tenant_id, keys[0], tuple(keys[1:]))
        self._known[tenant_id] = cipher
        return cipher

    async def _unwrap(self, tenant_id: UUID, key_id: UUID, master_id: str, wrapped: bytes) -> DataKey:
        known = self._unwrapped.get(key_id)
        if known is None:
            known = DataKey(key_id, await self._wrapper.unwrap(master_id, wrapped, tenant_id.bytes + key_id.bytes))
            self._unwrapped[key_id] = known
        return known

    async def _add(self, session: AsyncSession, tenant_id: UUID) -> DataKey:
        key = DataKey(new_id(), os.urandom(KEY_BYTES))
        master, wrapped = await self._wrapper.wrap(key.secret, tenant_id.bytes + key.id.bytes)
        values = {"id": key.id, "tenant": tenant_id, "master": master, "wrapped": wrapped, "now": now()}
        await session.execute(_ADD, values)
        self._unwrapped[key.id] = key
        return key
