"""The activities that keep roll-ups: what is over is added to them, a batch in a transaction.

Nobody waits for them: analytics add up what is in no roll-up yet. They keep that part small.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity

from activities.heartbeat import heartbeat
from models.database import Database
from models.repositories.analytics_rollups import (
    BATCH,
    WORTH,
    roll_up_costs,
    roll_up_executions,
    roll_up_steps,
    tenants_to_roll_up,
)
from models.wire_maintenance import TenantBatch
from omium_core.errors import TenantErased

log = structlog.get_logger(__name__)

RollUp = Callable[[AsyncSession, UUID, int], Awaitable[int]]
_ALL: tuple[tuple[str, RollUp], ...] = (
    ("executions", roll_up_executions),
    ("steps", roll_up_steps),
    ("costs", roll_up_costs),
)


class RollupActivities:
    """Belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name="tenants_to_roll_up")
    async def tenants(self) -> TenantBatch:
        """Those for whom it is worth it; the ones that are left have their turn the next time."""
        async with self._database.system() as db:
            return TenantBatch([str(tenant_id) for tenant_id in await tenants_to_roll_up(db, WORTH)])

    @activity.defn(name="roll_up_tenant")
    async def roll_up(self, tenant: str) -> None:
        """Everything of one tenant that is over."""
        async with heartbeat():
            try:
                counts = await self.roll_up_now(UUID(tenant))
            except TenantErased:
                return
        log.info("rolled up", tenant_id=tenant, **counts)

    async def roll_up_now(self, tenant_id: UUID, batch: int = BATCH) -> dict[str, int]:
        """The same outside of an activity. How many rows of each kind were added."""
        counts = {}
        for name, add in _ALL:
            counts[name] = await self._all(tenant_id, add, batch)
        return counts

    async def _all(self, tenant_id: UUID, add: RollUp, batch: int) -> int:
        total = 0
        while True:
            added = await self._database.run(tenant_id, lambda db: add(db, tenant_id, batch))
            total += added
            if added < batch:
                return total
