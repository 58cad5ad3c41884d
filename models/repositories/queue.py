"""The queue of a tenant's executions: who waits, whose turn has come.

An execution that is `pending` without `admitted_at` waits. It is admitted, oldest first, while fewer of the tenant's
executions are under way than `tenants.max_concurrent_executions`: those that run, and those that were admitted and are about
to. One that is paused holds no place, for it holds no worker.

Only `admit` gives places, one transaction of a tenant at a time, so there are never more than the limit, however many ask at
once. Who admits must start what he admitted; what he leaves behind when he dies is `admitted_executions` for the reconciler.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.repositories.executions import Known
from models.tables import Execution
from models.tables.base import now

# the count must be taken after the lock was got, which one statement cannot do
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('executions of ' || :tenant, 0))")

# materialized: PostgreSQL may run a subquery with FOR UPDATE and LIMIT once for each row, and let in one with each
_ADMIT = text("""
WITH free AS MATERIALIZED (
    SELECT greatest(tenants.max_concurrent_executions - (
        SELECT count(*) FROM executions
        WHERE tenant_id = :tenant AND status IN ('pending', 'running')
          AND (status = 'running' OR admitted_at IS NOT NULL)
    ), 0) AS places
    FROM tenants WHERE tenants.id = :tenant
), chosen AS MATERIALIZED (
    SELECT id FROM executions
    WHERE tenant_id = :tenant AND status = 'pending' AND admitted_at IS NULL
    ORDER BY queued_at, id
    LIMIT (SELECT places FROM free)
    FOR UPDATE SKIP LOCKED
)
UPDATE executions SET admitted_at = :now, updated_at = :now
FROM chosen WHERE executions.id = chosen.id AND executions.tenant_id = :tenant
RETURNING executions.id, queued_at
""")

_IS_ANYBODY_WAITING = text("""
SELECT EXISTS (
    SELECT FROM executions WHERE tenant_id = CAST(:tenant AS uuid) AND status = 'pending' AND admitted_at IS NULL
)
""")

_PLACES = text("""
SELECT count(*) FILTER (WHERE status = 'running' OR admitted_at IS NOT NULL) AS running,
       count(*) FILTER (WHERE status = 'pending' AND admitted_at IS NULL) AS queued
FROM executions WHERE tenant_id = :tenant AND status IN ('pending', 'running')
""")

_TENANTS_WAITING = text("""
SELECT tenants.id FROM tenants
WHERE EXISTS (SELECT FROM executions WHERE tenant_id = tenants.id AND status = 'pending' AND admitted_at IS NULL)
  AND max_concurrent_executions > (
    SELECT count(*) FROM executions
    WHERE tenant_id = tenants.id AND status IN ('pending', 'running')
      AND (status = 'running' OR admitted_at IS NOT NULL)
  )
""")

_POSITION = text("""
SELECT 1 + count(*) FROM executions
WHERE tenant_id = :tenant AND status = 'pending' AND admitted_at IS NULL AND (queued_at, id) < (:queued, :id)
""")


def is_waiting(execution: Execution) -> bool:
    """Whether an execution is in its tenant's queue: there is no run of it, and none before its turn."""
    return execution.status == "pending" and execution.admitted_at is None


async def admit(session: AsyncSession, tenant_id: UUID) -> list[UUID]:
    """Gives the places that are free to the executions that have waited longest; their ids, to be started after the commit."""
    await session.flush()
    await session.execute(_LOCK, {"tenant": str(tenant_id)})
    admitted = (await session.execute(_ADMIT, {"tenant": tenant_id, "now": now()})).all()
    return [row.id for row in sorted(admitted, key=_turn)]


def _turn(row: Row[tuple[object, ...]]) -> tuple[object, object]:
    return row.queued_at, row.id


async def is_anybody_waiting(database: Database, tenant_id: UUID) -> bool:
    """Whether a place that becomes free is wanted: one round trip."""
    return bool((await database.statement(tenant_id, _IS_ANYBODY_WAITING, {"tenant": tenant_id}))[0])


async def queue_position(session: AsyncSession, execution: Execution) -> int | None:
    """Which one in its tenant's queue an execution is, from 1; None for one that does not wait."""
    if not is_waiting(execution):
        return None
    asked = {"tenant": execution.tenant_id, "queued": execution.queued_at, "id": execution.id}
    position: int = (await session.execute(_POSITION, asked)).scalar_one()
    return position


async def count_places(session: AsyncSession, tenant_id: UUID) -> tuple[int, int]:
    """How many of a tenant's executions are under way, and how many wait."""
    row = (await session.execute(_PLACES, {"tenant": tenant_id})).one()
    return row.running, row.queued


def queue_again(execution: Execution) -> None:
    """An execution that is taken up again waits like a new one."""
    execution.status = "pending"
    execution.queued_at = now()
    execution.admitted_at = None


async def tenants_waiting(session: AsyncSession) -> Sequence[UUID]:
    """Tenants of which an execution waits while there is a place: for the reconciler, in a transaction of the platform."""
    return (await session.execute(_TENANTS_WAITING)).scalars().all()


async def admitted_executions(session: AsyncSession, *, older_than: float, limit: int = 100) -> list[Known]:
    """Those of all tenants whose turn came, but which did not begin for `older_than` seconds: for the reconciler."""
    query = (
        select(col(Execution.tenant_id), col(Execution.id))
        .where(
            col(Execution.status) == "pending",
            col(Execution.admitted_at).is_not(None),
            col(Execution.updated_at) < now() - timedelta(seconds=older_than),
        )
        .order_by(col(Execution.id))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]
