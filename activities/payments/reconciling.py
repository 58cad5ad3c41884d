"""Asks Stripe what our side has missed: events that never arrived, and what no event told.

Events come first, and are stored and worked off like those that were sent. Stripe keeps events for 30 days; payments, refunds
and subscriptions are looked at themselves, so that even an endpoint that was switched off for long loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from activities.payments.applying import Applier
from activities.payments.booking import Refused
from activities.payments.client import StripeApi
from activities.payments.facts import Fact
from activities.payments.reading import HANDLED, Unreadable, intent, refund, subscription
from models.database import Database
from models.repositories import stripe_events
from models.tables.base import now
from omium_core.errors import TenantErased

log = structlog.get_logger(__name__)

CURSOR = "stripe"
#: Stripe keeps events for so long; a first look goes back as far.
KEPT = timedelta(days=30)
#: Looks overlap: what was under way at the last one is seen again.
OVERLAP = timedelta(hours=6)
#: Our copies of events are emptied after this time.
FORGOTTEN = timedelta(days=90)
#: Stripe takes so many types in one question.
_TYPES = 20


class Reconciler:
    """Belongs to one event loop."""

    def __init__(self, database: Database, api: StripeApi, applier: Applier) -> None:
        self._database = database
        self._api = api
        self._applier = applier

    async def once(self) -> dict[str, int]:
        """Everything since the last look. What was found, by kind; raises `Unavailable` while Stripe is away."""
        began = now()
        async with self._database.system() as session:
            reached = await stripe_events.reached(session, CURSOR)
        since = began - KEPT if reached is None else max(reached - OVERLAP, began - KEPT)
        found = {
            "events": await self._events(since),
            "payments": await self._missed(self._api.intents(since), self._paid),
            "refunds": await self._missed(self._api.refunds(since), refund),
            "subscriptions": await self._missed(self._api.subscriptions(), lambda each: self._standing(each, began)),
        }
        async with self._database.system() as session:
            await stripe_events.reach(session, CURSOR, began)
            await stripe_events.forget(session, began - FORGOTTEN)
        log.info("Stripe was asked what was missed", since=since.isoformat(), **found)
        return found

    async def _events(self, since: datetime) -> int:
        """Stores events that never came, and works them off. How many they were."""
        types, missed = sorted(HANDLED), []
        for first in range(0, len(types), _TYPES):
            async for event in self._api.events(since, types[first : first + _TYPES]):
                async with self._database.system() as session:
                    if await stripe_events.keep(session, event):
                        missed.append(event["id"])
        for event_id in reversed(missed):
            await self._applier.work_off(event_id)
        return len(missed)

    async def _missed(self, rows: Any, read: Callable[[Mapping[str, Any]], Fact | None]) -> int:
        """Applies what each row says; most of it was known, and changes nothing. How many rows were somebody's."""
        count = 0
        async for row in rows:
            try:
                fact = read(row)
            except Unreadable as error:
                log.warning("an object of Stripe cannot be read", id=row.get("id"), reason=str(error))
                continue
            if fact is None:
                continue
            async with self._database.system() as session:
                tenant_id = await stripe_events.owner_of(session, fact.traces)
            if tenant_id is None:
                continue
            try:
                await self._applier.apply(tenant_id, fact)
            except (Refused, TenantErased) as error:
                log.warning("an object of Stripe was refused", id=row.get("id"), reason=str(error))
                continue
            count += 1
        return count

    @staticmethod
    def _paid(row: Mapping[str, Any]) -> Fact | None:
        """Payments that succeeded; of the others there is nothing to say."""
        return intent(row) if row.get("status") == "succeeded" else None

    def _standing(self, row: Mapping[str, Any], at: datetime) -> Fact:
        """A subscription as it is now. What happens within this second may be missing, so it counts as of the one before."""
        seconds = int(at.astimezone(UTC).timestamp()) - 1
        kind = "customer.subscription.updated"
        return subscription(row, self._applier.plans, kind=kind, event_id="reconciled", at=seconds)
