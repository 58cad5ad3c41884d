"""The keys of tenants: read from the database, unwrapped with the master key, remembered for a few seconds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

from cachetools import TTLCache
from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.base import new_id
from omium_core.errors import ConfigurationError, KeyUnavailable, TenantErased
from omium_core.keyring import KEY_BYTES, Cipher, DataKey, KeyWrapper

#: A key that was rotated or destroyed is forgotten by every process within this many seconds.
MEMORY_SECONDS = 2.0
#: A new key opens at once and seals only after so many seconds: then there is no process left that does not know it.
RIPE_SECONDS = 10.0

# the newest that is ripe seals; the clock is the database's, which all processes share
_READ = text("""
SELECT id, master_key_id, wrapped_key, destroyed_at,
       created_at < clock_timestamp() - make_interval(secs => :ripening) AS ripe
FROM tenant_keys WHERE tenant_id = :tenant ORDER BY created_at DESC, id DESC
""")
_ADD = text("""
INSERT INTO tenant_keys (id, tenant_id, master_key_id, wrapped_key, created_at)
VALUES (:id, :tenant, :master, :wrapped, clock_timestamp())
""")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tenant-key ' || :tenant, 0))")
_DESTROY = text("""
UPDATE tenant_keys SET wrapped_key = NULL, destroyed_at = coalesce(destroyed_at, clock_timestamp())
WHERE tenant_id = :tenant RETURNING id
""")
_GRAVE = text("""
INSERT INTO tenant_keys (id, tenant_id, master_key_id, created_at, destroyed_at)
VALUES (:id, :tenant, '', clock_timestamp(), clock_timestamp())
""")
_SAMPLES = text("""
SELECT DISTINCT ON (master_key_id) id, tenant_id, master_key_id, wrapped_key FROM tenant_keys
WHERE destroyed_at IS NULL ORDER BY master_key_id, id DESC
""")
_WRAPPED_BY_OTHERS = text("""
SELECT id, tenant_id, master_key_id, wrapped_key FROM tenant_keys
WHERE destroyed_at IS NULL AND master_key_id <> :master AND id > :after ORDER BY id LIMIT 100
""")
# what was destroyed meanwhile stays so
_REWRAP = text("""
UPDATE tenant_keys SET master_key_id = :master, wrapped_key = :wrapped WHERE id = :id AND destroyed_at IS NULL
""")


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

    @property
    def wrapper(self) -> KeyWrapper:
        """What holds the master key, for what the platform itself keeps sealed."""
        return self._wrapper

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
        self._known.pop(tenant_id, None)

    async def rotate(self, tenant_id: UUID) -> UUID:
        """Makes a new key, which seals everywhere after `RIPE_SECONDS`. Its id. Raises `TenantErased`."""
        async with self._database.system() as session:
            await session.execute(_LOCK, {"tenant": str(tenant_id)})
            await self._alive(session, tenant_id)
            key = await self._add(session, tenant_id)
        self.forget(tenant_id)
        return key.id

    async def sealing_since_rotation(self, tenant_id: UUID) -> Cipher:
        """The tenant's cipher, once its newest key is the one that seals; waits for that."""
        while True:
            async with self._database.system() as session:
                alive = await self._alive(session, tenant_id)
            if not alive or alive[0].id == _sealing(alive).id:
                self.forget(tenant_id)
                return await self.cipher(tenant_id)
            await asyncio.sleep(MEMORY_SECONDS / 4)

    async def destroy(self, tenant_id: UUID) -> None:
        """Wipes all keys of a tenant: nothing that they sealed can be read again, here at once, elsewhere within
        `MEMORY_SECONDS`. The tenant never gets another key. May be repeated."""
        async with self._database.system() as session:
            await session.execute(_LOCK, {"tenant": str(tenant_id)})
            wiped: Sequence[UUID] = (await session.execute(_DESTROY, {"tenant": tenant_id})).scalars().all()
            if not wiped:
                await session.execute(_GRAVE, {"id": new_id(), "tenant": tenant_id})
        for key_id in wiped:
            self._unwrapped.pop(key_id, None)
        self.forget(tenant_id)

    async def check(self) -> None:
        """Whether the master key opens what lies in the database; `ConfigurationError` names the one that is missing."""
        async with self._database.system() as session:
            samples = (await session.execute(_SAMPLES)).all()
        for row in samples:
            try:
                await self._unwrap(row.tenant_id, row)
            except KeyUnavailable as error:
                raise ConfigurationError(
                    f"Keys of tenants were wrapped with the master key {row.master_key_id}, and this process cannot unwrap "
                    f"them: {error.message} Set OMIUM_MASTER_KEY, OMIUM_MASTER_KEY_FILE or OMIUM_KMS_KEY_ID to what it was."
                ) from error

    async def rewrap(self) -> int:
        """Wraps every tenant's keys with the present master key, in batches; how many that were. May be repeated."""
        master, _ = await self._wrapper.wrap(os.urandom(KEY_BYTES), b"")
        after, rewrapped = UUID(int=0), 0
        while True:
            async with self._database.system() as session:
                found = (await session.execute(_WRAPPED_BY_OTHERS, {"master": master, "after": after})).all()
                for row in found:
                    key = await self._unwrap(row.tenant_id, row)
                    now_by, wrapped = await self._wrapper.wrap(key.secret, _context(row.tenant_id, row.id))
                    await session.execute(_REWRAP, {"id": row.id, "master": now_by, "wrapped": wrapped})
            if not found:
                return rewrapped
            rewrapped, after = rewrapped + len(found), found[-1].id

    async def _alive(self, session: AsyncSession, tenant_id: UUID) -> list[Row[Any]]:
        rows = (await session.execute(_READ, {"tenant": tenant_id, "ripening": RIPE_SECONDS})).all()
        alive = [row for row in rows if row.destroyed_at is None]
        if rows and not alive:
            for row in rows:
                self._unwrapped.pop(row.id, None)
            raise TenantErased("What this tenant stored was erased: its keys are destroyed.")
        return alive

    async def _read(self, tenant_id: UUID) -> Cipher:
        made: DataKey | None = None
        async with self._database.system() as session:
            alive = await self._alive(session, tenant_id)
            if not alive:
                # one process makes the first key, the others wait for it
                await session.execute(_LOCK, {"tenant": str(tenant_id)})
                alive = await self._alive(session, tenant_id)
            if not alive:
                made = await self._add(session, tenant_id)
        if made is not None:
            cipher = Cipher(tenant_id, made)
        else:
            sealing = _sealing(alive)
            others = tuple([await self._unwrap(tenant_id, row) for row in alive if row.id != sealing.id])
            cipher = Cipher(tenant_id, await self._unwrap(tenant_id, sealing), others)
        self._known[tenant_id] = cipher
        return cipher

    async def _unwrap(self, tenant_id: UUID, row: Row[Any]) -> DataKey:
        known = self._unwrapped.get(row.id)
        if known is None:
            secret = await self._wrapper.unwrap(row.master_key_id, row.wrapped_key, _context(tenant_id, row.id))
            known = self._unwrapped[row.id] = DataKey(row.id, secret)
        return known

    async def _add(self, session: AsyncSession, tenant_id: UUID) -> DataKey:
        key = DataKey(new_id(), os.urandom(KEY_BYTES))
        master, wrapped = await self._wrapper.wrap(key.secret, _context(tenant_id, key.id))
        values = {"id": key.id, "tenant": tenant_id, "master": master, "wrapped": wrapped}
        await session.execute(_ADD, values)
        self._unwrapped[key.id] = key
        return key


def _context(tenant_id: UUID, key_id: UUID) -> bytes:
    """What a wrapped key is bound to."""
    return tenant_id.bytes + key_id.bytes


def _sealing(alive: Sequence[Row[Any]]) -> Row[Any]:
    """Which of a tenant's keys seals, the newest first."""
    return next((row for row in alive if row.ripe), alive[-1])
