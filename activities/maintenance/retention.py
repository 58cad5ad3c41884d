"""The activities of retention: what is older than its tenant keeps it goes, in small batches, and partitions are made in time.

Ended runs alone lose anything: one that runs, waits or was rolled back keeps all that it may come back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text
from sqlmodel import col
from temporalio import activity

from activities.heartbeat import heartbeat
from activities.maintenance.sealing import Sealer
from activities.maintenance.sweeping import Sweeper
from models.database import Database
from models.repositories.audit_chain import make_partitions
from models.tables import Tenant
from models.tables.base import now
from models.wire_maintenance import Removed, TenantBatch
from omium_core.errors import TenantErased
from omium_core.retention import AUDIT_DAYS, Retention, retention_of

log = structlog.get_logger(__name__)

#: Months for which there are partitions ahead of time.
AHEAD = 3
BATCH = 500
TENANTS = 100

# the run's row is locked, so that nobody takes it up again while its states go
_ENDED = """
JOIN executions e ON e.id = t.execution_id
WHERE t.tenant_id = :tenant AND e.status IN ('completed', 'failed', 'cancelled')
AND coalesce(e.completed_at, e.updated_at) < :before AND t.created_at < :before
"""
_STATEMENTS = {
    # a rollback that is still on record keeps the checkpoint that it went to
    "checkpoints": f"""SELECT t.ctid FROM checkpoints t {_ENDED}
        AND NOT EXISTS (SELECT FROM rollbacks r WHERE r.to_checkpoint_id = t.id AND r.started_at >= :traces_before)""",  # noqa: S608 - made of our own names
    "call_journal": f"SELECT t.ctid FROM call_journal t {_ENDED}",  # noqa: S608 - made of our own names
    "execution_events": f"SELECT t.ctid FROM execution_events t {_ENDED}",  # noqa: S608 - made of our own names
}
_FINISHED = {
    "notifications": "SELECT t.ctid FROM notifications t WHERE t.tenant_id = :tenant AND t.status <> 'pending' AND t.created_at < :before",
    "webhook_deliveries": "SELECT t.ctid FROM webhook_deliveries t WHERE t.tenant_id = :tenant AND t.status <> 'pending' "
    "AND t.created_at < :before",
    # times that fired, and keys that answered: nobody asks for one of them a second time after so long
    **{
        table: f"SELECT t.ctid FROM {table} t WHERE t.tenant_id = :tenant AND t.created_at < :before"  # noqa: S608 - our own names
        for table in ("schedule_runs", "schedule_commands", "external_kickoffs")
    },
}


class RetentionActivities:
    """Belongs to one event loop."""

    def __init__(self, database: Database, sealer: Sealer, sweeper: Sweeper) -> None:
        self._database = database
        self._sealer = sealer
        self._sweeper = sweeper

    @activity.defn(name="make_partitions")
    async def make_partitions(self) -> None:
        """Partitions of the audit log for the months to come."""
        async with heartbeat(), self._database.system() as db:
            made = await make_partitions(db, AHEAD)
        if made:
            log.info("partitions were made", table="audit_logs", count=made)

    @activity.defn(name="tenants_to_tidy")
    async def tenants(self, after: str) -> TenantBatch:
        """The next tenants that are not erased."""
        query = select(col(Tenant.id)).where(col(Tenant.deleted_at).is_(None)).order_by(col(Tenant.id)).limit(TENANTS)
        if after:
            query = query.where(col(Tenant.id) > UUID(after))
        async with self._database.system() as db:
            rows: Sequence[UUID] = (await db.execute(query)).scalars().all()
        found = [str(row) for row in rows]
        return TenantBatch(found, len(found) == TENANTS)

    @activity.defn(name="tidy_tenant")
    async def tidy(self, tenant: str) -> Removed:
        """Removes what one tenant keeps no longer. How many rows and objects that was."""
        tenant_id = UUID(tenant)
        async with heartbeat():
            try:
                return Removed(await self.tidy_now(tenant_id))
            except TenantErased:
                return Removed()

    async def tidy_now(self, tenant_id: UUID, at: datetime | None = None) -> dict[str, int]:
        """The same outside of an activity, and as if it were `at`."""
        at = at or now()
        keeps = await self.kept_by(tenant_id)
        traces = at - timedelta(days=keeps.trace_days)
        removed: dict[str, int] = {}
        for table, chosen in (*_STATEMENTS.items(), *_FINISHED.items()):
            before = at - timedelta(days=keeps.checkpoint_days) if table == "checkpoints" else traces
            lock = " FOR UPDATE OF t, e SKIP LOCKED" if table in _STATEMENTS else ""
            values = {"tenant": tenant_id, "before": before}
            if table == "checkpoints":
                values["traces_before"] = traces
            removed[table] = await self._delete(tenant_id, table, chosen + f" LIMIT {BATCH}{lock}", values)
        removed["objects"] = await self._sweeper.sweep(tenant_id, at)
        return {kind: count for kind, count in removed.items() if count}

    @activity.defn(name="drop_audit_partitions")
    async def drop_partitions(self) -> Removed:
        """Drops months of the audit log that no tenant keeps any longer."""
        async with heartbeat():
            longest = await self._longest_audit()
            dropped = await self._sealer.drop(now() - timedelta(days=longest))
            await self._sealer.prune_anchors()
        return Removed({"audit_partitions": 1} if dropped else {})

    async def kept_by(self, tenant_id: UUID) -> Retention:
        query = select(col(Tenant.settings)).where(col(Tenant.id) == tenant_id)
        async with self._database.system() as db:
            return retention_of((await db.execute(query)).scalar_one())

    async def _longest_audit(self) -> int:
        query = select(col(Tenant.settings)).where(col(Tenant.deleted_at).is_(None))
        async with self._database.system() as db:
            settings: Sequence[dict[str, Any]] = (await db.execute(query)).scalars().all()
        return max((retention_of(one).audit_days for one in settings), default=AUDIT_DAYS)

    async def _delete(self, tenant_id: UUID, table: str, chosen: str, values: dict[str, Any]) -> int:
        statement = text(
            f"WITH gone AS (DELETE FROM {table} WHERE ctid IN ({chosen}) RETURNING 1) SELECT count(*) AS gone FROM gone"  # noqa: S608 - made of our own names
        )
        total = 0
        while gone := (await self._database.statement(tenant_id, statement, values)).gone:
            total += gone
        return total
