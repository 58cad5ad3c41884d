"""The one sealer of the audit log: links entries into the chain, and anchors its head outside of the database.

Any number of workers run it; PostgreSQL lets one of them seal at a time, so writers cannot fork the chain. The head is signed,
and now and then a copy of it goes to the object store: who cuts off the end of the log, head and all, leaves the copy behind.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from activities.stores.base import ObjectStore, ObjectStoreUnavailable
from models.audit_chain import Head, Link, entry_hash, signing_key
from models.database import Database, is_database_away
from models.repositories import audit_chain as rows
from models.tables.base import now
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

EVERY = 1.0
AFTER_AN_ERROR = 30.0
BATCH = 500
#: Where copies of heads lie, and how often one is made, in seconds.
ANCHORS = "platform/audit-heads/"
ANCHOR_EVERY = 30.0
ANCHORS_KEPT = 200
_AT_ONCE = 20


@dataclass(frozen=True)
class Anchor:
    """A copy of a head, outside of the database."""

    seq: int
    chain_hash: bytes
    mac: bytes
    created_at: datetime
    head: Head


class Sealer:
    def __init__(self, database: Database, settings: Settings, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._key = signing_key(settings.api_key_pepper.get_secret_value())
        self._anchored = -1
        self._anchor_next = 0.0

    async def run(self) -> None:
        """For ever, every second. What goes wrong here ends no run: it is logged, and tried again."""
        while True:
            pause = EVERY
            try:
                # a full batch means that there is more
                while await self.seal() == BATCH:
                    pass
                await self.anchor()
            except Exception as error:
                if is_database_away(error) or isinstance(error, ObjectStoreUnavailable):
                    log.warning("sealing the audit log has to wait", error=str(error))
                else:
                    log.exception("the audit log cannot be sealed")
                    pause = AFTER_AN_ERROR
            await asyncio.sleep(pause)

    async def seal(self) -> int:
        """Links up to `BATCH` entries. How many: none, also when somebody else is at it."""
        async with self._database.system() as db:
            if not await rows.lock_chain(db):
                return 0
            found = await rows.waiting(db, BATCH)
            if not found:
                return 0
            signed = await rows.newest_head(db)
            head = signed.head if signed else Head()
            ends = await rows.tenant_ends(db, sorted({UUID(row.tenant_id) for row in found}))
            links, head = linked(found, head, ends, now())
            await rows.add_links(db, links, [row.position for row in found])
            await rows.add_head(db, self._signed(head))
        return len(found)

    async def drop(self, before: datetime) -> bool:
        """Drops the partitions of whole months before a moment, and says so in the head. Whether there were any."""
        async with self._database.system() as db:
            if not await rows.lock_chain(db):
                return False
            signed = await rows.newest_head(db)
            head = signed.head if signed else Head()
            removed_before, first_seq = await rows.drop_partitions(db, before)
            if removed_before is None:
                return False
            head = replace(head, removed_before=max(head.removed_before, removed_before))
            if first_seq is not None:
                [first] = await rows.links_after(db, first_seq - 1, 1)
                head = replace(head, first_seq=first_seq, first_previous=first.link.previous_hash)
            await rows.add_head(db, self._signed(head))
        return True

    async def anchor(self) -> None:
        """Copies the newest head to the object store, when it is another one than last time and some time has passed."""
        if time.monotonic() < self._anchor_next:
            return
        async with self._database.system() as db:
            signed = await rows.newest_head(db)
        if signed is None or signed.head.seq == self._anchored:
            return
        self._anchor_next = time.monotonic() + ANCHOR_EVERY
        # with the hash in its name, so that a chain that was made anew does not write over what tells of the old one
        name = f"{ANCHORS}{signed.head.seq:020d}-{signed.head.chain_hash.hex()[:16]}"
        await self._objects.put(name, _packed(signed))
        self._anchored = signed.head.seq

    async def prune_anchors(self) -> None:
        """Keeps the newest copies, which are those that tell whether the end was cut off."""
        keys = sorted([key async for key in self._objects.list(ANCHORS)])
        for key in keys[:-ANCHORS_KEPT]:
            await self._objects.delete(key)

    def _signed(self, head: Head) -> rows.SignedHead:
        at = now()
        return rows.SignedHead(head, at, head.mac(self._key, at))


def linked(
    entries: Sequence[Any], head: Head, ends: dict[UUID, int], at: datetime
) -> tuple[list[tuple[Link, bytes]], Head]:
    """The links of entries after a head, each with its hash, and the head after them."""
    links: list[tuple[Link, bytes]] = []
    ends = dict(ends)
    for row in entries:
        tenant_id = UUID(row.tenant_id)
        ends[tenant_id] = ends.get(tenant_id, 0) + 1
        link = Link(
            seq=head.seq + 1,
            tenant_id=tenant_id,
            tenant_seq=ends[tenant_id],
            audit_id=UUID(row.id),
            entry_hash=entry_hash(row._mapping),
            previous_hash=head.chain_hash,
            sealed_at=at,
        )
        head = replace(head, seq=link.seq, chain_hash=link.chain_hash())
        links.append((link, head.chain_hash))
    return links, head


async def anchors(objects: ObjectStore) -> list[Anchor]:
    """All copies of heads, the furthest last. The store lists keys in no promised order."""
    keys = sorted([key async for key in objects.list(ANCHORS)])
    found: list[Anchor] = []
    for first in range(0, len(keys), _AT_ONCE):
        some = await asyncio.gather(*(objects.get(key) for key in keys[first : first + _AT_ONCE]))
        found += map(_unpacked, some)
    return found


def _packed(signed: rows.SignedHead) -> bytes:
    head = signed.head
    return json.dumps(
        {
            "seq": head.seq,
            "chain_hash": head.chain_hash.hex(),
            "first_seq": head.first_seq,
            "first_previous": head.first_previous.hex(),
            "removed_before": str(head.removed_before),
            "created_at": signed.created_at.isoformat(),
            "mac": signed.mac.hex(),
        }
    ).encode()


def _unpacked(data: bytes) -> Anchor:
    """A copy of a head; what is none comes back as one that nobody signed."""
    try:
        told = json.loads(data)
        head = Head(
            int(told["seq"]),
            bytes.fromhex(told["chain_hash"]),
            int(told["first_seq"]),
            bytes.fromhex(told["first_previous"]),
            UUID(told["removed_before"]),
        )
        return Anchor(
            head.seq, head.chain_hash, bytes.fromhex(told["mac"]), datetime.fromisoformat(told["created_at"]), head
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Anchor(0, b"", b"", datetime.fromtimestamp(0, UTC), Head())
