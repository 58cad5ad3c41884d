"""The audit log: entries are written in one statement, and read by the tenant that they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.sealing import SealedJson, SealedText
from models.tables import AuditLog
from models.tables.base import new_id, now
from omium_core.errors import NotFound

#: How many entries an export reads at once.
BATCH = 500


@dataclass(frozen=True)
class AuditEntry:
    """One entry to be written. Values are JSON and hold no secret and no payload."""

    tenant_id: UUID
    action: str
    resource_type: str
    resource_id: UUID | None = None
    user_id: UUID | None = None
    api_key_id: UUID | None = None
    old_values: dict[str, Any] | None = None
    new_values: dict[str, Any] | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    status: str = "success"
    id: UUID = field(default_factory=new_id)
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are wanted; None is no condition. `since` is included, `until` is not."""

    user_id: UUID | None = None
    api_key_id: UUID | None = None
    action: str | None = None
    resource_type: str | None = None
    resource_id: UUID | None = None
    request_id: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


#: One row, in one statement: also for those who have no transaction open.
INSERT = text("""
INSERT INTO audit_logs (id, tenant_id, user_id, api_key_id, action, resource_type, resource_id, old_values, new_values,
    ip_address, user_agent, request_id, metadata, status, created_at)
VALUES (:id, :tenant_id, :user_id, :api_key_id, :action, :resource_type, :resource_id, :old_values, :new_values,
    :ip_address, :user_agent, :request_id, :metadata, :status, :created_at)
RETURNING id
""").bindparams(
    bindparam("old_values", type_=SealedJson()),
    bindparam("new_values", type_=SealedJson()),
    bindparam("ip_address", type_=SealedText()),
    bindparam("user_agent", type_=SealedText()),
    bindparam("metadata", type_=JSONB()),
)


def row_of(entry: AuditEntry) -> dict[str, Any]:
    """The parameters of `INSERT`."""
    return asdict(entry)


async def write_entry(session: AsyncSession, entry: AuditEntry) -> None:
    """Adds an entry in the transaction of whoever makes the change: both are there, or neither is."""
    await session.execute(INSERT, row_of(entry))


class AuditRepository(Repository):
    """Reads the entries of one tenant, the newest first."""

    async def get(self, audit_id: UUID) -> AuditLog:
        found = (
            await self.session.execute(self._query(AuditFilter()).where(col(AuditLog.id) == audit_id))
        ).scalar_one_or_none()
        if found is None:
            raise NotFound("There is no such entry in the audit log.", audit_id=str(audit_id))
        entry: AuditLog = found
        return entry

    async def list(self, page: Page, wanted: AuditFilter | None = None) -> Listing[AuditLog]:
        return await self._page(self._query(wanted or AuditFilter()), AuditLog, page)

    async def after(self, wanted: AuditFilter, last: UUID | None) -> Sequence[AuditLog]:
        """The next entries of an export, the oldest first, after the id `last`."""
        query = self._query(wanted).order_by(col(AuditLog.id)).limit(BATCH)
        if last is not None:
            query = query.where(col(AuditLog.id) > last)
        return (await self.session.execute(query)).scalars().all()

    def _query(self, wanted: AuditFilter) -> Select[Any]:
        query: Select[Any] = select(AuditLog).where(col(AuditLog.tenant_id) == self.tenant_id)
        for name in ("user_id", "api_key_id", "action", "resource_type", "resource_id", "request_id", "status"):
            value = getattr(wanted, name)
            if value is not None:
                query = query.where(getattr(AuditLog, name) == value)
        if wanted.since is not None:
            # the bound on the id lets whole partitions be left out; the one on the time is exact
            query = query.where(col(AuditLog.created_at) >= wanted.since, col(AuditLog.id) >= _bound(wanted.since))
        if wanted.until is not None:
            query = query.where(col(AuditLog.created_at) < wanted.until, col(AuditLog.id) <= _bound(wanted.until, 1000))
        return query


def _bound(moment: datetime, later_by_ms: int = -1000) -> UUID:
    """An id made about then: ids and times of one entry are made one after the other, a second apart at the very most."""
    millis = max(int(moment.timestamp() * 1000) + later_by_ms, 0)
    return UUID(int=min(millis, 2**48 - 1) << 80)


async def all_after(open_session: Any, tenant_id: UUID, wanted: AuditFilter) -> AsyncIterator[Sequence[AuditLog]]:
    """All entries that match, the oldest first, in batches; each is a short transaction of its own."""
    last: UUID | None = None
    while True:
        async with open_session(tenant_id) as session:
            rows = await AuditRepository(session, tenant_id).after(wanted, last)
        if rows:
            yield rows
        if len(rows) < BATCH:
            return
        last = rows[-1].id
