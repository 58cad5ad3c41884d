"""What the ledger needs beside the calls themselves: holds that nobody will settle any more, and what is charged by the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, exists, select, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.pricing import Rate, storage_cost
from models.repositories.base import Repository
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository
from models.tables import CreditGrant, CreditHold, LedgerEntry, Price, Tenant
from models.tables.base import now

_LOCK = text("SELECT tenant_id FROM credit_accounts WHERE tenant_id = :tenant FOR UPDATE")

# A hold is dead when nobody will tell what came of its call: its attempt is over, or its run is. An attempt that runs in a run
# that stands still may only be slow to end.
_DEAD = text("""
SELECT h.execution_id, h.lineage, h.step_index, h.request_hash, h.occurrence, h.attempt, h.amount,
       a.name AS step_name, j.id AS answer, j.kind, j.name, j.cost, j.input_tokens, j.output_tokens
FROM credit_holds h
LEFT JOIN call_journal j USING (execution_id, lineage, step_index, request_hash, occurrence)
LEFT JOIN agents a ON a.execution_id = h.execution_id AND a.lineage = h.lineage AND a.step_index = h.step_index
LEFT JOIN executions e ON e.id = h.execution_id
WHERE h.tenant_id = :tenant AND h.created_at < :before AND (
    j.id IS NOT NULL OR a.id IS NULL OR e.id IS NULL OR a.attempt > h.attempt
    OR a.status NOT IN ('running', 'waiting') OR e.lineage <> h.lineage
    OR e.status NOT IN ('pending', 'running', 'paused')
    OR (e.status = 'paused' AND (a.status = 'waiting' OR h.created_at < :long_before))
)
ORDER BY h.id
""")
_RELEASE = text("""
SELECT credit_release(:tenant, :execution, :lineage, :step, :hash, :occurrence, :attempt, :now)
""")
_STORED = text("""
SELECT price.id, price.per_call,
       (SELECT coalesce(sum(state_size_bytes), 0) FROM checkpoints WHERE tenant_id = :tenant) AS bytes
FROM credit_price(:tenant, 'storage', '', :now) price WHERE price.per_call > 0
""")


@dataclass(frozen=True)
class Swept:
    """Dead holds that were released, and those whose answer is in the journal: they are settled by what it says."""

    released: int
    settled: int


class BookkeepingRepository(Repository):
    async def sweep(self, before: datetime, long_before: datetime) -> Swept:
        """Clears dead holds that were made before a moment; those of runs that only stand still, before an earlier one."""
        # an attempt that takes a hold over does so under this lock: it is not taken from it
        await self.session.execute(_LOCK, {"tenant": self.tenant_id})
        values = {"tenant": self.tenant_id, "before": before, "long_before": long_before}
        dead = (await self.session.execute(_DEAD, values)).all()
        settled = 0
        for row in dead:
            if row.answer is None:
                await self._release(row)
                continue
            call = CallKey(StepKey(row.execution_id, row.lineage, row.step_index), row.request_hash, row.occurrence)
            charge = Charge(
                cost=row.cost,
                usage_type=row.kind,
                resource=row.name,
                agent=row.step_name or "",
                attempt=row.attempt,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
            )
            settled += await LedgerRepository(self.session, self.tenant_id).settle(call, charge)
        return Swept(released=len(dead) - settled, settled=settled)

    async def charge_storage(self, day: date) -> int:
        """Charges a day of what the tenant's checkpoints take now, once. What it came to; 0 if it is free or was charged."""
        key = f"storage:{day.isoformat()}"
        found = exists().where(col(LedgerEntry.tenant_id) == self.tenant_id, col(LedgerEntry.idempotency_key) == key)
        if (await self.session.execute(select(found))).scalar_one():
            return 0
        stored = (await self.session.execute(_STORED, {"tenant": self.tenant_id, "now": now()})).one_or_none()
        if stored is None or stored.bytes == 0:
            return 0
        rate = Rate(per_call=stored.per_call, id=stored.id)
        charge = Charge(
            cost=storage_cost(rate, int(stored.bytes), day),
            usage_type="storage",
            resource="checkpoints",
            price_id=rate.id,
            description=f"{stored.bytes} bytes of checkpoints on {day.isoformat()}",
        )
        return charge.cost if await LedgerRepository(self.session, self.tenant_id).charge(key, charge) else 0

    async def _release(self, row: Row[Any]) -> None:
        values = {
            "tenant": self.tenant_id,
            "execution": row.execution_id,
            "lineage": row.lineage,
            "step": row.step_index,
            "hash": row.request_hash,
            "occurrence": row.occurrence,
            "attempt": row.attempt,
            "now": now(),
        }
        await self.session.execute(_RELEASE, values)


async def tenants_with_holds(session: AsyncSession, before: datetime) -> Sequence[UUID]:
    """Tenants that have holds which were made before a moment. In a transaction of the platform itself."""
    query = select(col(CreditHold.tenant_id)).where(col(CreditHold.created_at) < before).distinct()
    return (await session.execute(query)).scalars().all()


async def tenants_with_expired_lots(session: AsyncSession) -> Sequence[UUID]:
    """Tenants with credits whose time is over, in the same manner."""
    query = select(col(CreditGrant.tenant_id)).where(col(CreditGrant.is_left), col(CreditGrant.expires_at) <= now())
    return (await session.execute(query.distinct())).scalars().all()


async def tenants_with_priced_storage(session: AsyncSession) -> Sequence[UUID]:
    """Tenants for whom storage may have a price, in the same manner: all, as soon as anybody's has one."""
    priced = exists().where(col(Price.kind) == "storage", col(Price.per_call) > 0)
    return (
        (await session.execute(select(col(Tenant.id)).where(priced, col(Tenant.deleted_at).is_(None)))).scalars().all()
    )
