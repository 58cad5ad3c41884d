"""Keeps Temporal's schedules as their rows say: what a request could not tell it, and what it has lost.

Runs in every worker; PostgreSQL lets one of them work on a schedule at a time.
"""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.schedules.sync import mend, sync
from models.database import Database, is_database_away
from models.repositories.schedules import schedules_after, schedules_not_synced
from omium_core.errors import TenantErased

log = structlog.get_logger(__name__)

EVERY = 2.0
#: A schedule that its own request is still working on is left alone for this long, in seconds.
GRACE = 2.0
#: How often, in seconds, the next of all schedules are compared with Temporal, and how many of them.
COMPARE_EVERY = 60.0
COMPARED = 50


class ScheduleKeeper:
    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._compared_last: UUID | None = None
        self._compare_next = time.monotonic() + COMPARE_EVERY

    async def run(self) -> None:
        """For ever, every few seconds."""
        while True:
            try:
                await self.once()
            except Exception as error:
                if not (is_database_away(error) or isinstance(error, (RPCError, RuntimeError))):
                    raise
                log.warning("schedules have to wait", error=str(error))
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        async with self._database.system() as session:
            behind = await schedules_not_synced(session, older_than=GRACE)
        for tenant_id, schedule_id in behind:
            try:
                await sync(self._client, self._database, tenant_id, schedule_id)
            except TenantErased:
                continue
        if time.monotonic() >= self._compare_next:
            self._compare_next = time.monotonic() + COMPARE_EVERY
            await self._compare()

    async def _compare(self) -> None:
        """Looks at the next of all schedules, and from the first again after the last."""
        async with self._database.system() as session:
            rows = await schedules_after(session, self._compared_last, COMPARED)
        self._compared_last = rows[-1][1] if len(rows) == COMPARED else None
        for tenant_id, schedule_id in rows:
            try:
                if await mend(self._client, self._database, tenant_id, schedule_id):
                    log.warning("Temporal had lost a schedule", schedule_id=str(schedule_id))
            except TenantErased:
                continue
