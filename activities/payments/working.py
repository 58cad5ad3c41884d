"""The activities of the workflows about money: one event of Stripe, and the daily reconciliation."""

from __future__ import annotations

import structlog
from temporalio import activity

from activities.heartbeat import heartbeat
from activities.payments.applying import Applier
from activities.payments.client import open_stripe
from activities.payments.reconciling import Reconciler
from models.database import Database, is_database_away
from omium_core.settings import Settings

log = structlog.get_logger(__name__)


class PaymentActivities:
    """Belongs to one event loop."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._applier = Applier(database, settings)

    @activity.defn(name="apply_stripe_event")
    async def apply(self, event_id: str) -> str:
        """Works off a stored event. Empty when it is done, else why it was refused."""
        async with heartbeat():
            return await self._applier.work_off(event_id) or ""

    @activity.defn(name="refuse_stripe_event")
    async def refuse(self, event_id: str) -> None:
        """Sets an event aside that failed again and again, unless it works now: the database may have been away for long."""
        async with heartbeat():
            try:
                await self._applier.work_off(event_id)
            except Exception as error:
                if is_database_away(error):
                    raise
                log.exception("an event of Stripe cannot be applied", event_id=event_id)
                await self._applier.refuse(event_id, f"The event could not be applied: {type(error).__name__}.")

    @activity.defn(name="reconcile_stripe")
    async def reconcile(self) -> dict[str, int]:
        """Asks Stripe what was missed since the last time. Nothing without a key of Stripe."""
        api = open_stripe(self._settings)
        if api is None:
            return {}
        try:
            async with heartbeat():
                return await Reconciler(self._database, api, self._applier).once()
        finally:
            await api.close()
