"""What this process counts and tells the database every few seconds, in one statement: requests, last uses of keys.

A request writes nothing. It is counted in memory, on top of what the database is known to hold; so this process is exact
about its own requests, and hears of those of other processes with each write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

import structlog
from cachetools import LRUCache

from models.database import Database, is_database_away
from models.repositories.keys import note_uses
from models.repositories.limits import TenantAllowance, add_calls, month_of, read_allowance
from models.tables.base import now
from omium_core.errors import NotAuthenticated

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: A change of a tenant's limits is known to every process after this many seconds.
ALLOWANCE_SECONDS = 5.0
_MOST_TENANTS = 10_000


@dataclass
class TenantMeter:
    """A tenant in this process: what it may use, and the requests of the present month."""

    allowance: TenantAllowance
    read_at: float
    month: date
    #: In the database, being written, and not yet being written.
    stored: int
    sending: int = 0
    unsent: int = 0
    refresh: asyncio.Task[None] | None = None

    @property
    def calls(self) -> int:
        return self.stored + self.sending + self.unsent


class Metering:
    """One per API process. Belongs to its event loop."""

    def __init__(self, database: Database, interval: float) -> None:
        self._database = database
        self._interval = interval
        self._meters: LRUCache[UUID, TenantMeter] = LRUCache(maxsize=_MOST_TENANTS)
        self._opening: dict[UUID, asyncio.Task[TenantMeter]] = {}
        #: Meters with something to write; the cache may forget them, this does not.
        self._dirty: dict[tuple[UUID, date], TenantMeter] = {}
        self._used: dict[UUID, datetime] = {}
        self._writing = asyncio.Lock()
        self._last_use: LRUCache[UUID, datetime] = LRUCache(maxsize=_MOST_TENANTS)

    async def meter(self, tenant_id: UUID) -> TenantMeter:
        """The tenant's meter of this month. `NotAuthenticated` for a tenant that is gone."""
        meter = self._meters.get(tenant_id)
        if meter is None or meter.month != month_of():
            return await asyncio.shield(self._open(tenant_id))
        if meter.read_at < time.monotonic() - ALLOWANCE_SECONDS and meter.refresh is None:
            # beside the requests, which go on with what is known
            meter.refresh = asyncio.create_task(self._refresh(tenant_id, meter))
        return meter

    def count(self, tenant_id: UUID, meter: TenantMeter) -> None:
        """One request more."""
        meter.unsent += 1
        self._dirty[tenant_id, meter.month] = meter

    def key_used(self, key_id: UUID) -> None:
        self._used[key_id] = self._last_use[key_id] = now()

    def last_use(self, key_id: UUID) -> datetime | None:
        """When this process last saw a key, if it did."""
        return self._last_use.get(key_id)

    async def run(self) -> None:
        """For ever, every few seconds."""
        while True:
            await asyncio.sleep(self._interval)
            # who ends this loop waits for a write that is under way, in `flush`
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Writes what was counted. What cannot be written now is written the next time."""
        async with self._writing:
            used, self._used = self._used, {}
            if used and not await self._written(lambda: self._write_uses(used)):
                self._used = {**used, **self._used}
            for month in sorted({month for _, month in self._dirty}):
                await self._flush_calls(month)

    async def _flush_calls(self, month: date) -> None:
        meters = {tenant_id: meter for (tenant_id, of), meter in self._dirty.items() if of == month}
        for tenant_id, meter in meters.items():
            del self._dirty[tenant_id, month]
            meter.sending, meter.unsent = meter.unsent, 0
        if await self._written(lambda: self._write_calls(month, meters)):
            return
        for tenant_id, meter in meters.items():
            meter.unsent, meter.sending = meter.unsent + meter.sending, 0
            self._dirty[tenant_id, month] = meter

    async def _write_uses(self, used: dict[UUID, datetime]) -> None:
        async with self._database.system() as session:
            await note_uses(session, used)

    async def _write_calls(self, month: date, meters: dict[UUID, TenantMeter]) -> None:
        async with self._database.system() as session:
            sums = await add_calls(session, month, {tenant_id: meter.sending for tenant_id, meter in meters.items()})
        for tenant_id, meter in meters.items():
            meter.stored, meter.sending = sums.get(tenant_id, meter.stored), 0

    @staticmethod
    async def _written(write: Callable[[], Awaitable[None]]) -> bool:
        try:
            await write()
        except Exception as error:
            if not is_database_away(error):
                raise
            log.warning("what was counted is written later", error=str(error))
            return False
        return True

    def _open(self, tenant_id: UUID) -> asyncio.Task[TenantMeter]:
        task = self._opening.get(tenant_id)
        if task is None:
            task = self._opening[tenant_id] = asyncio.create_task(self._read_new(tenant_id))
            task.add_done_callback(lambda _: self._opening.pop(tenant_id, None))
        return task

    async def _read_new(self, tenant_id: UUID) -> TenantMeter:
        month = month_of()
        allowance = await self._read(tenant_id, month)
        if allowance is None:
            raise NotAuthenticated("The tenant of this credential is gone.")
        # the cache may have forgotten a meter that still has something to write
        meter = self._dirty.get((tenant_id, month)) or TenantMeter(allowance, 0.0, month, 0)
        meter.allowance, meter.read_at, meter.stored = allowance, time.monotonic(), allowance.calls
        self._meters[tenant_id] = meter
        return meter

    async def _refresh(self, tenant_id: UUID, meter: TenantMeter) -> None:
        try:
            allowance = await self._read(tenant_id, meter.month)
            if allowance is not None:
                meter.allowance = allowance
                if not meter.sending:
                    meter.stored = max(meter.stored, allowance.calls)
        except Exception as error:
            if not is_database_away(error):
                raise
            log.warning("limits stay as they were known", tenant_id=str(tenant_id), error=str(error))
        finally:
            meter.read_at, meter.refresh = time.monotonic(), None

    async def _read(self, tenant_id: UUID, month: date) -> TenantAllowance | None:
        async with self._database.system() as session:
            return await read_allowance(session, tenant_id, month)
