"""What workers do about money by themselves: start what nobody started, and answer balances that fall below their threshold."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client

from activities.payments.applying import Applier
from activities.payments.auto_topups import AutoTopups
from activities.payments.client import open_stripe
from activities.payments.starting import start
from models.database import Database
from models.repositories import stripe_events
from omium_core import temporal
from omium_core.settings import Settings
from workers.housekeeping import daily, make_schedule
from workers.repeating import repeat

EVERY = 2.0
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
        try:
            # a client of Temporal that is away may say so by this error
            await repeat(self.once, every=EVERY, waits="payments", passing=RuntimeError)
        finally:
            if self._api is not None:
                await self._api.close()

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
    name, workflow = temporal.STRIPE_RECONCILIATION_SCHEDULE, temporal.STRIPE_RECONCILIATION_WORKFLOW
    return await make_schedule(client, name, workflow, daily(HOUR), [])
