"""What workers do about money by themselves: start what nobody started, and answer balances that fall below their threshold."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
)
from temporalio.service import RPCError

from activities.payments.applying import Applier
from activities.payments.auto_topups import AutoTopups
from activities.payments.client import open_stripe
from activities.payments.starting import start
from models.database import Database, is_database_away
from models.repositories import stripe_events
from omium_core import temporal
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

EVERY = 2.0
AFTER_AN_ERROR = 30.0
#: The API starts what it stored; an event that waits for longer was left by a process that died, or by Temporal being away.
LEFT_AFTER = timedelta(seconds=3)
_BATCH = 100
#: Every day at this hour, in UTC, spread over an hour.
HOUR = 4


class PaymentKeeper:
    def __init__(self, client: Client, database: Database, settings: Settings) -> None:
        self._client = client
        self._database = database
        self._api = open_stripe(settings)
        applier = Applier(database, settings)
        self._topups = None if self._api is None else AutoTopups(database, self._api, applier, settings)
        self._scheduled = self._api is None

    async def run(self) -> None:
        """For ever. What goes wrong here ends no run: it is logged, and tried again."""
        try:
            while True:
                went_well = await self._safely()
                await asyncio.sleep(EVERY if went_well else AFTER_AN_ERROR)
        finally:
            if self._api is not None:
                await self._api.close()

    async def _safely(self) -> bool:
        try:
            await self.once()
        except (RPCError, RuntimeError) as error:
            log.warning("payments have to wait", error=str(error))
        except Exception as error:
            if not is_database_away(error):
                log.exception("payments have to wait")
                return False
            log.warning("payments have to wait", error=str(error))
        return True

    async def once(self, *, left_after: timedelta = LEFT_AFTER) -> None:
        async with self._database.system() as session:
            left = await stripe_events.waiting(session, older_than=left_after, limit=_BATCH)
        for event_id in left:
            await start(self._client, event_id)
        if not self._scheduled:
            await schedule_reconciliation(self._client)
            self._scheduled = True
        if self._topups is not None:
            await self._topups.once()


async def schedule_reconciliation(client: Client) -> bool:
    """Whether it was made now; False when it was there. Raises `RPCError` and `RuntimeError` while Temporal is away."""
    try:
        await client.create_schedule(
            temporal.STRIPE_RECONCILIATION_SCHEDULE,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    temporal.STRIPE_RECONCILIATION_WORKFLOW,
                    id=temporal.STRIPE_RECONCILIATION_SCHEDULE,
                    task_queue=temporal.maintenance_queue(),
                ),
                spec=ScheduleSpec(
                    calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(HOUR)], comment="every day")],
                    jitter=timedelta(hours=1),
                ),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(days=1)),
            ),
        )
    except ScheduleAlreadyRunningError:
        return False
    return True
