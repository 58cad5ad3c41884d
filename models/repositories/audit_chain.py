"""The chain over the audit log in the database: what waits for it, its links, its heads. Transactions of the system role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.audit_chain import Head, Link
from models.tables import AuditHead, AuditLink

_LOCK = 0x6175646974  # "audit", for pg_try_advisory_xact_lock

# every column as it is stored: ciphertext stays bytes, all else becomes text
_ENTRY = """
a.id::text AS id, a.tenant_id::text AS tenant_id, a.user_id::text AS user_id, a.api_key_id::text AS api_key_id, a.action,
a.resource_type, a.resource_id::text AS resource_id, a.old_values, a.new_values, a.ip_address, a.user_agent, a.request_id,
a.metadata::text AS metadata, a.status, to_char(a.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS created_at
"""
_WAITING = text(f"""
SELECT p.position, {_ENTRY} FROM audit_pending p JOIN audit_logs a ON a.id = p.audit_id
ORDER BY p.position LIMIT :limit
""")  # noqa: S608 - made of our own names
_LINKS = text(f"""
SELECT c.seq, c.tenant_id AS of_tenant, c.tenant_seq, c.audit_id, c.entry_hash, c.previous_hash, c.chain_hash, c.sealed_at, {_ENTRY}
FROM audit_chain c LEFT JOIN audit_logs a ON a.id = c.audit_id
WHERE c.seq > :after ORDER BY c.seq LIMIT :limit
""")  # noqa: S608 - made of our own names
_LINKS_OF_TENANT = text(f"""
SELECT c.seq, c.tenant_id AS of_tenant, c.tenant_seq, c.audit_id, c.entry_hash, c.previous_hash, c.chain_hash, c.sealed_at, {_ENTRY}
FROM audit_chain c LEFT JOIN audit_logs a ON a.id = c.audit_id
WHERE c.tenant_id = :tenant AND c.tenant_seq > :after ORDER BY c.tenant_seq LIMIT :limit
""")  # noqa: S608 - made of our own names
_OUTSIDE = """
SELECT a.id FROM audit_logs a
WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)
AND NOT EXISTS (SELECT FROM audit_pending p WHERE p.audit_id = a.id) {where} ORDER BY a.id LIMIT 1
"""


@dataclass(frozen=True)
class SignedHead:
    """A head as it is stored, with its signature."""

    head: Head
    created_at: datetime
    mac: bytes


@dataclass(frozen=True)
class StoredLink:
    """A link as it is stored, the hash that is stored with it, and its entry; None when the entry is gone."""

    link: Link
    chain_hash: bytes
    entry: dict[str, Any] | None


async def lock_chain(db: AsyncSession) -> bool:
    """Whether this transaction is the only one that works on the chain now."""
    return bool((await db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar())


async def fix_snapshot(db: AsyncSession) -> None:
    """Lets the transaction see one moment only. First of all its statements."""
    await db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


async def newest_head(db: AsyncSession) -> SignedHead | None:
    row = (
        await db.execute(
            text(
                "SELECT seq, chain_hash, first_seq, first_previous, removed_before, created_at, mac FROM audit_heads "
                "ORDER BY number DESC LIMIT 1"
            )
        )
    ).one_or_none()
    return None if row is None else _signed(row)


async def heads_between(db: AsyncSession, after: int, until: int) -> list[SignedHead]:
    """The heads of a part of the chain, each as it stood after a batch; `until` is included."""
    query = text(
        "SELECT seq, chain_hash, first_seq, first_previous, removed_before, created_at, mac FROM audit_heads "
        "WHERE seq > :after AND seq <= :until ORDER BY number"
    )
    return [_signed(row) for row in (await db.execute(query, {"after": after, "until": until})).all()]


async def add_head(db: AsyncSession, signed: SignedHead) -> None:
    head = signed.head
    db.add(
        AuditHead(
            seq=head.seq,
            chain_hash=head.chain_hash,
            first_seq=head.first_seq,
            first_previous=head.first_previous,
            removed_before=head.removed_before,
            created_at=signed.created_at,
            mac=signed.mac,
        )
    )
    await db.flush()


async def waiting(db: AsyncSession, limit: int) -> Sequence[Any]:
    """Entries that are not in the chain, in the order in which they were written, with their `position`."""
    return (await db.execute(_WAITING, {"limit": limit})).all()


async def tenant_ends(db: AsyncSession, tenants: Sequence[UUID]) -> dict[UUID, int]:
    """The last `tenant_seq` of each of these tenants; 0 where it has none is left out."""
    query = text(
        "SELECT t.id, (SELECT max(c.tenant_seq) FROM audit_chain c WHERE c.tenant_id = t.id) AS last "
        "FROM unnest(CAST(:tenants AS uuid[])) AS t(id)"
    )
    rows = (await db.execute(query, {"tenants": list(tenants)})).all()
    return {row.id: row.last for row in rows if row.last is not None}


async def add_links(db: AsyncSession, links: Sequence[tuple[Link, bytes]], positions: Sequence[int]) -> None:
    """Adds links, each with its hash, and takes their entries from those that wait."""
    db.add_all(
        AuditLink(
            seq=link.seq,
            tenant_id=link.tenant_id,
            tenant_seq=link.tenant_seq,
            audit_id=link.audit_id,
            entry_hash=link.entry_hash,
            previous_hash=link.previous_hash,
            chain_hash=chain_hash,
            sealed_at=link.sealed_at,
        )
        for link, chain_hash in links
    )
    await db.flush()
    done = text("DELETE FROM audit_pending WHERE position = ANY(CAST(:positions AS bigint[]))")
    await db.execute(done, {"positions": list(positions)})


async def links_after(db: AsyncSession, after: int, limit: int, tenant_id: UUID | None = None) -> list[StoredLink]:
    """The next links by `seq`, or those of one tenant by `tenant_seq`."""
    if tenant_id is None:
        rows = (await db.execute(_LINKS, {"after": after, "limit": limit})).all()
    else:
        rows = (await db.execute(_LINKS_OF_TENANT, {"tenant": tenant_id, "after": after, "limit": limit})).all()
    return [_stored(row) for row in rows]


async def outside_of_chain(db: AsyncSession, tenant_id: UUID | None = None) -> UUID | None:
    """An entry that is neither in the chain nor waits for it: somebody went round the trigger."""
    where = "" if tenant_id is None else "AND a.tenant_id = :tenant"
    values = {} if tenant_id is None else {"tenant": tenant_id}
    found: UUID | None = (await db.execute(text(_OUTSIDE.format(where=where)), values)).scalar_one_or_none()
    return found


async def waiting_in_vain(db: AsyncSession) -> UUID | None:
    """An entry that waits for the chain and is not there: somebody removed it before it was sealed."""
    query = "SELECT p.audit_id FROM audit_pending p WHERE NOT EXISTS (SELECT FROM audit_logs a WHERE a.id = p.audit_id) LIMIT 1"
    found: UUID | None = (await db.execute(text(query))).scalar_one_or_none()
    return found


async def count_waiting(db: AsyncSession, tenant_id: UUID | None = None) -> int:
    query = "SELECT count(*) FROM audit_pending" + ("" if tenant_id is None else " WHERE tenant_id = :tenant")  # noqa: S608 - made of our own names
    return int((await db.execute(text(query), {} if tenant_id is None else {"tenant": tenant_id})).scalar_one())


async def make_partitions(db: AsyncSession, ahead: int) -> int:
    """Makes the partitions of this month and of the next ones, where they are missing. How many it made."""
    return int((await db.execute(text("SELECT audit_make_partitions(now(), :ahead)"), {"ahead": ahead})).scalar_one())


async def drop_partitions(db: AsyncSession, before: datetime) -> tuple[UUID | None, int | None]:
    """Drops whole months before a moment. The id below which entries are gone (None: nothing was dropped), the first link left."""
    row = (await db.execute(text("SELECT * FROM audit_drop_partitions(:before)"), {"before": before})).one()
    return row.removed_before, row.first_seq


def _signed(row: Any) -> SignedHead:
    head = Head(row.seq, bytes(row.chain_hash), row.first_seq, bytes(row.first_previous), row.removed_before)
    return SignedHead(head, row.created_at, bytes(row.mac))


def _stored(row: Any) -> StoredLink:
    link = Link(
        row.seq,
        row.of_tenant,
        row.tenant_seq,
        row.audit_id,
        bytes(row.entry_hash),
        bytes(row.previous_hash),
        row.sealed_at,
    )
    return StoredLink(link, bytes(row.chain_hash), None if row.id is None else dict(row._mapping))
