"""Wakes runs that waited for money and could pay now. Runs in every worker; PostgreSQL lets one of them work at a time.

A run is woken by a signal whose id tells how often it was parked, so that it goes on once however often it is told. Whoever
dies before it noted whom it told leaves them to the next.
"""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.database import Database
from models.repositories.parking import ParkingRepository, Waiting, count_parked, tenants_who_could_pay
from models.wire_commands import FundsCommand
from omium_core import temporal
from omium_core.errors import NotFound
from omium_core.settings import Settings
from workers.repeating import repeat

log = structlog.get_logger(__name__)

WOKEN = Counter("omium_parked_runs_woken_total", "Runs that waited for money and were told to go on")
PARKED = Gauge("omium_parked_runs", "Runs that wait for money", ["reason"])

_LOCK = 0x66756E6473  # "funds", for pg_try_advisory_xact_lock
EVERY = 1.0
#: Seconds between two counts of those that wait, for the metrics.
COUNT_EVERY = 15.0
#: Seconds that a run has to hear of it.
_PATIENCE = timedelta(seconds=5)


class Funds:
    def __init__(self, client: Client, database: Database, settings: Settings) -> None:
        self._client = client
        self._database = database
        self._enforced = settings.enforces_credits
        self._count_next = 0.0

    async def run(self) -> None:
        await repeat(self.once, every=EVERY, waits="runs that wait for money")

    async def once(self) -> None:
        """Wakes all that could pay now."""
        async with self._database.system() as db:
            if time.monotonic() >= self._count_next:
                self._count_next = time.monotonic() + COUNT_EVERY
                for reason, count in (await count_parked(db)).items():
                    PARKED.labels(reason).set(count)
            tenants = await tenants_who_could_pay(db, enforced=self._enforced)
            if not tenants:
                return
            # held to the end: two who counted the same money would wake twice as many as can pay
            if not (await db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar():
                return
            for tenant_id in tenants:
                await self._wake(tenant_id)

    async def _wake(self, tenant_id: UUID) -> None:
        try:
            async with self._database.transaction(tenant_id) as session:
                parking = ParkingRepository(session, tenant_id)
                affordable = await parking.affordable(enforced=self._enforced)
                for waiting in affordable:
                    await self._tell(tenant_id, waiting)
                await parking.woken([waiting.execution_id for waiting in affordable])
        except NotFound as error:
            log.info("nobody waits for money any more", tenant_id=str(tenant_id), reason=error.message)

    async def _tell(self, tenant_id: UUID, waiting: Waiting) -> None:
        run = self._client.get_workflow_handle(temporal.workflow_id(tenant_id, waiting.execution_id))
        try:
            await run.signal("funds", FundsCommand(waiting.command_id), rpc_timeout=_PATIENCE)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            # the reconciler finds runs that are gone
            log.warning("a parked run is gone from Temporal", execution_id=str(waiting.execution_id))
            return
        WOKEN.inc()
        log.info("a run that waited for money goes on", execution_id=str(waiting.execution_id))
