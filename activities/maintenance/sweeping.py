"""Removes objects to which nothing refers any more.

States share their bytes, so an object may be removed only when nothing of the tenant leads to it. It is looked for twice, far
apart: what was found without a reference the first time, and still has none the second time, goes. In between, whatever was
being written has been committed (`activities.stores.blobs` says how long a process may still know a key).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Delete, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from activities.maintenance.contents import is_blob
from activities.stores.base import ObjectStore
from activities.stores.blobs import KNOWN_SECONDS, WHOLE_BYTES, BlobStore
from activities.stores.encrypted import EncryptedStore
from models.database import Database
from models.tables import Table as Base
from models.tables import UnreferencedObject

log = structlog.get_logger(__name__)

#: How far apart the two looks are, at least. Retention runs once a day.
APART = max(timedelta(seconds=2 * KNOWN_SECONDS), timedelta(hours=20))
BATCH = 1000
_BLOB = re.compile(r"[^/]+/([0-9a-f]{2})/(\1[0-9a-f]{62})")


class Sweeper:
    """Belongs to one event loop. `objects` is the store itself."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def sweep(self, tenant_id: UUID, at: datetime) -> int:
        """One look at a tenant's objects. How many were removed."""
        # the objects first: what is written from now on is none of them
        there = {match[2] async for key in self._objects.list(f"{tenant_id}/") if (match := _BLOB.fullmatch(key))}
        whole, large = await self._referenced(tenant_id)
        loose = there - whole - large
        if loose:
            loose -= await self._chunks(tenant_id, large & there)
        due = await self._note(tenant_id, loose, at)
        removed = 0
        for digest in due:
            removed += await self._remove(f"{tenant_id}/{digest[:2]}/{digest}")
        await self._forget(tenant_id, due)
        return removed

    async def _referenced(self, tenant_id: UUID) -> tuple[set[str], set[str]]:
        """What rows name: blobs that are one object, and those that may be made of several."""
        whole: set[str] = set()
        large: set[str] = set()
        async with self._database.transaction(tenant_id) as db:
            for table in Base.metadata.sorted_tables:
                names = [column for column in table.c if is_blob(column.name)] if "tenant_id" in table.c else []
                for column in names:
                    query = select(column).where(table.c.tenant_id == tenant_id, column.is_not(None)).distinct()
                    if column.name == "checksum":
                        small = query.where(table.c.state_size_bytes <= WHOLE_BYTES)
                        whole |= set((await db.execute(small)).scalars())
                        query = query.where(table.c.state_size_bytes > WHOLE_BYTES)
                    large |= set((await db.execute(query)).scalars())
        return whole, large

    async def _chunks(self, tenant_id: UUID, large: set[str]) -> set[str]:
        """All objects that these blobs are made of."""
        blobs = BlobStore(EncryptedStore(self._objects, self._database.keys), str(tenant_id))
        found: set[str] = set()
        for digest in large:
            found.update(await blobs.parts(digest))
        return found

    async def _note(self, tenant_id: UUID, loose: set[str], at: datetime) -> Sequence[str]:
        """Writes down what has no reference now. What had none the last time either, long enough ago, is to go."""
        async with self._database.transaction(tenant_id) as db:
            query = select(col(UnreferencedObject.digest), col(UnreferencedObject.seen_at)).where(
                col(UnreferencedObject.tenant_id) == tenant_id
            )
            known = {row.digest: row.seen_at for row in (await db.execute(query)).all()}
            referenced_again = [digest for digest in known if digest not in loose]
            for some in _batches(referenced_again):
                await db.execute(_rows(tenant_id, some))
            for some in _batches([digest for digest in loose if digest not in known]):
                new = [{"tenant_id": tenant_id, "digest": digest, "seen_at": at} for digest in some]
                await db.execute(insert(UnreferencedObject).values(new).on_conflict_do_nothing())
        return [digest for digest, seen_at in known.items() if digest in loose and seen_at <= at - APART]

    async def _remove(self, key: str) -> bool:
        """Removes an object, unless somebody has just written it again."""
        written = await self._objects.written_at(key)
        if written is None or written > datetime.now(UTC) - timedelta(seconds=2 * KNOWN_SECONDS):
            return False
        await self._objects.delete(key)
        return True

    async def _forget(self, tenant_id: UUID, digests: Sequence[str]) -> None:
        async with self._database.transaction(tenant_id) as db:
            for some in _batches(digests):
                await db.execute(_rows(tenant_id, some))


def _rows(tenant_id: UUID, digests: Sequence[str]) -> Delete:
    return delete(UnreferencedObject).where(
        col(UnreferencedObject.tenant_id) == tenant_id, col(UnreferencedObject.digest).in_(digests)
    )


def _batches(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[first : first + BATCH] for first in range(0, len(items), BATCH)]
