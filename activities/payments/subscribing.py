"""Subscriptions as tenants change them: begin one, move it to another plan, end it with the period, take that back.

A dearer plan holds at once, and Stripe invoices the rest of the period for it (a proration). A cheaper one begins with the next
period, by a schedule of Stripe's: what was paid for is kept until then.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.payments.applying import Applier
from activities.payments.client import StripeApi
from activities.payments.customers import with_customer
from activities.payments.facts import ENDED
from activities.payments.plans import RANKS
from activities.payments.reading import subscription
from activities.payments.standing import Standing
from models.database import Database
from models.repositories.payments import PaymentRepository
from models.tables import Subscription
from models.tables.base import now
from omium_core.errors import Conflict
from omium_core.payment_errors import AlreadySubscribed, BillingNotConfigured, SubscriptionNotFound
from omium_core.settings import Settings


class Subscriptions:
    """The subscriptions of tenants, with Stripe."""

    def __init__(self, database: Database, api: StripeApi, settings: Settings) -> None:
        self._database = database
        self._api = api
        self._settings = settings
        self._applier = Applier(database, settings)

    def price_of(self, plan: str) -> str:
        """Raises `BillingNotConfigured` for a plan that this installation does not sell."""
        price = self._applier.plans.price_id(plan)
        if price is None:
            raise BillingNotConfigured(f"This installation does not sell the plan {plan}: it has no price.", plan=plan)
        return price

    async def begin(
        self, tenant_id: UUID, plan: str, *, success_url: str, cancel_url: str, key: str | None
    ) -> dict[str, Any]:
        """A checkout session. Raises `AlreadySubscribed`, `BillingNotConfigured`."""
        price = self.price_of(plan)
        found = await self._current(tenant_id)
        if found is not None:
            raise AlreadySubscribed(
                f"There is a subscription to the plan {found.plan}: change it instead.", plan=found.plan
            )
        named = {"tenant_id": str(tenant_id), "plan": plan}
        params: dict[str, Any] = {
            "mode": "subscription",
            "client_reference_id": str(tenant_id),
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": success_url,
            "cancel_url": cancel_url,
            "metadata": named,
            "subscription_data": {"metadata": named},
            "billing_address_collection": "auto",
            "tax_id_collection": {"enabled": True},
            "customer_update": {"address": "auto", "name": "auto"},
        }
        if self._settings.stripe_automatic_tax:
            params["automatic_tax"] = {"enabled": True}

        async def make(customer: str) -> dict[str, Any]:
            stripe_key = None if key is None else f"omium-checkout-{tenant_id}-{customer}-{key}"
            return await self._api.create_checkout({**params, "customer": customer}, stripe_key)

        return await with_customer(self._database, self._api, tenant_id, make)

    async def change_plan(self, tenant_id: UUID, plan: str, *, key: str | None) -> None:
        """To another plan: a dearer one now, a cheaper one with the next period; to the present one, takes that back."""
        price, found = self.price_of(plan), await self._needed(tenant_id)
        if found.plan == plan:
            if found.next_plan is not None or found.stripe_schedule_id is not None:
                await self._keep(tenant_id, await self._unscheduled(found), None)
            return
        if RANKS[plan] < RANKS.get(found.plan or "", 0):
            await self._later(tenant_id, found, plan, price)
            return
        current = await self._unscheduled(found)
        items = current["items"]["data"]
        params: dict[str, Any] = {
            "items": [{"id": items[0]["id"], "price": price}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        }
        stripe_key = None if key is None else f"omium-plan-{tenant_id}-{plan}-{key}"
        await self._keep(
            tenant_id, await self._api.update_subscription(found.stripe_subscription_id, params, stripe_key), None
        )

    async def cancel_at_period_end(self, tenant_id: UUID, cancel: bool) -> None:
        """Ends it with the period that was paid, or takes that back."""
        found = await self._needed(tenant_id)
        if cancel:
            # a schedule would go on beyond the end
            await self._unscheduled(found)
        elif found.cancel_at_period_end is False:
            return
        params: dict[str, Any] = {"cancel_at_period_end": cancel}
        if not cancel:
            current = await self._api.subscription(found.stripe_subscription_id)
            if not current.get("cancel_at_period_end"):
                # the portal wrote down when it ends
                params = {"cancel_at": ""}
        await self._keep(tenant_id, await self._api.update_subscription(found.stripe_subscription_id, params), None)

    async def cancel_now(self, tenant_id: UUID) -> None:
        """At once; what was paid for the rest of the period is not given back."""
        found = await self._needed(tenant_id)
        await self._keep(tenant_id, await self._api.cancel_subscription(found.stripe_subscription_id), None)

    async def _later(self, tenant_id: UUID, found: Subscription, plan: str, price: str) -> None:
        if found.cancel_at_period_end:
            raise Conflict("The subscription ends with the period: take that back first.")
        schedule = (
            await self._api.schedule(found.stripe_schedule_id)
            if found.stripe_schedule_id is not None
            else await self._api.create_schedule(found.stripe_subscription_id)
        )
        present = schedule["phases"][0]
        items = [{"price": _id(item["price"]), "quantity": item.get("quantity") or 1} for item in present["items"]]
        first = {"start_date": present["start_date"], "end_date": present["end_date"], "items": items}
        then = {"items": [{"price": price, "quantity": 1}], "proration_behavior": "none"}
        await self._api.update_schedule(schedule["id"], [first, then])
        await self._keep(tenant_id, await self._api.subscription(found.stripe_subscription_id), plan)

    async def _unscheduled(self, found: Subscription) -> dict[str, Any]:
        """The subscription as it is, without a plan for later."""
        current = await self._api.subscription(found.stripe_subscription_id)
        if current.get("schedule") is None:
            return current
        await self._api.release_schedule(_id(current["schedule"]))
        return await self._api.subscription(found.stripe_subscription_id)

    async def _keep(self, tenant_id: UUID, told: dict[str, Any], next_plan: str | None) -> None:
        """What Stripe answered holds at once; its event tells the same later."""
        fact = subscription(
            told,
            self._applier.plans,
            kind="customer.subscription.updated",
            event_id="answered",
            at=int(now().timestamp()),
        )
        async with self._database.transaction(tenant_id) as session:
            tenant = await PaymentRepository(session, tenant_id).lock()
            await Standing(session, tenant, self._applier.plans).answered(fact, next_plan=next_plan)

    async def _needed(self, tenant_id: UUID) -> Subscription:
        found = await self._current(tenant_id)
        if found is None:
            raise SubscriptionNotFound("There is no subscription to change.")
        return found

    async def _current(self, tenant_id: UUID) -> Subscription | None:
        """The one that can be changed: it has begun, and not ended."""
        async with self._database.transaction(tenant_id) as session:
            tenant = await PaymentRepository(session, tenant_id).lock()
            found = await Standing(session, tenant, self._applier.plans).current()
        return None if found is None or found[1] in (*ENDED, "incomplete") else found[0]


def _id(value: Any) -> str:
    return str(value["id"] if isinstance(value, dict) else value)
