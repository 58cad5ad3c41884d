"""Clears what dead workers left held, lets credits expire whose time is over, and charges storage by the day.

Runs in every worker; PostgreSQL lets one of them work at a time. Everything it does can be done twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.repositories.bookkeeping import (
    BookkeepingRepository,
    tenants_with_expired_lots,
    tenants_with_holds,
    tenants_with_priced_storage,
)
from models.repositories.ledger import LedgerRepository
from models.tables.base import now
from omium_core.errors import NotFound
from workers.repeating import repeat

log = structlog.get_logger(__name__)

DEAD_HOLDS = Counter(
    "omium_dead_holds_total", "Holds that nobody settled: released, or settled by the journal", ["end"]
)

_LOCK = 0x626F6F6B73  # "books", for pg_try_advisory_xact_lock
EVERY = 30.0
#: A hold is left to its own worker for this long; that of a run that stands still, for longer.
GRACE = timedelta(minutes=1)
LONG_GRACE = timedelta(hours=1)


class Bookkeeper:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._storage_charged: date | None = None

    async def run(self) -> None:
        await repeat(self.once, every=EVERY, waits="the books")

    async def once(self) -> None:
        async with self._database.system() as db:
            if not (await db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar():
                return
            await self._each(await tenants_with_holds(db, now() - GRACE), self._sweep)
            await self._each(await tenants_with_expired_lots(db), self._expire)
            today = datetime.now(UTC).date()
            if self._storage_charged != today and (tenants := await tenants_with_priced_storage(db)):
                await self._each(tenants, self._charge_storage)
                self._storage_charged = today

    async def _each(self, tenants: Iterable[UUID], work: Callable[[AsyncSession, UUID], Awaitable[None]]) -> None:
        for tenant_id in tenants:
            try:
                async with self._database.transaction(tenant_id) as db:
                    await work(db, tenant_id)
            except NotFound as error:
                log.info("the tenant is gone", tenant_id=str(tenant_id), reason=error.message)

    @staticmethod
    async def _sweep(db: AsyncSession, tenant_id: UUID) -> None:
        swept = await BookkeepingRepository(db, tenant_id).sweep(now() - GRACE, now() - LONG_GRACE)
        DEAD_HOLDS.labels("released").inc(swept.released)
        DEAD_HOLDS.labels("settled").inc(swept.settled)
        if swept.released:
            log.info("dead holds were released", tenant_id=str(tenant_id), holds=swept.released)
        if swept.settled:
            log.error("answers were journaled without being settled", tenant_id=str(tenant_id), calls=swept.settled)

    @staticmethod
    async def _expire(db: AsyncSession, tenant_id: UUID) -> None:
        await LedgerRepository(db, tenant_id).expire()

    @staticmethod
    async def _charge_storage(db: AsyncSession, tenant_id: UUID) -> None:
        await BookkeepingRepository(db, tenant_id).charge_storage(datetime.now(UTC).date())
