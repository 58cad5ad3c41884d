"""Subscriptions, and what follows from them for a tenant: its tier, and how it stands.

Of each subscription the newest word counts. Tier and status are worked out from all of them, and from invoices that failed, so
the order in which words arrive does not matter.
"""

from __future__ import annotations

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.payments.facts import ENDED, Sub
from activities.payments.plans import NO_PLAN_TIER, PLANS, RANKS, PlanBook
from models.repositories.payments import PaymentRepository, SubscriptionRepository
from models.tables import Subscription, Tenant
from models.tables.base import now

#: Statuses in which a tenant has what its plan gives; Stripe tries again for days before it gives up on a renewal.
LIVE = ("active", "trialing", "past_due")
#: Marks what we know from Stripe's own answer, before its event comes: newer than what was told, older than what will be.
_ANSWERED = "~"


class Standing:
    """The subscriptions of one tenant, in the transaction of `session`."""

    def __init__(self, session: AsyncSession, tenant: Tenant, plans: PlanBook) -> None:
        self._session = session
        self._tenant = tenant
        self._plans = plans
        self._payments = PaymentRepository(session, tenant.id)
        self._subscriptions = SubscriptionRepository(session, tenant.id)

    async def told(self, told: Sub) -> None:
        """Keeps what an event says of a subscription, unless a newer one was here before."""
        row = await self._subscriptions.find(told.id)
        if row is None:
            row = Subscription(
                tenant_id=self._tenant.id, stripe_subscription_id=told.id, status=told.status, revision=""
            )
        if told.revision > row.revision:
            _tell(row, told)
            row.revision, row.told_at = told.revision, told.at
            await self._subscriptions.add(row)
        await self.work_out()

    async def answered(self, told: Sub, *, next_plan: str | None = None) -> Subscription:
        """Keeps what Stripe answered to a change that we asked for."""
        row = await self._subscriptions.find(told.id)
        if row is None or told.status in ENDED:
            await self.told(told)
            row = await self._subscriptions.find(told.id)
            assert row is not None
        else:
            _tell(row, told)
            row.revision = row.revision.rstrip(_ANSWERED) + _ANSWERED
        row.next_plan = next_plan
        await self._subscriptions.add(row)
        await self.work_out()
        return row

    async def status_of(self, row: Subscription) -> str:
        """Its status; `past_due` also as soon as a renewal failed, before Stripe says so of the subscription."""
        if row.status in ("active", "trialing") and await self._payments.failed_since(
            row.stripe_subscription_id, row.told_at
        ):
            return "past_due"
        return row.status

    async def current(self) -> tuple[Subscription, str] | None:
        """The subscription that counts, with its status: the best that is live, else the newest; None without any."""
        rows = [(row, await self.status_of(row)) for row in await self._subscriptions.all()]
        live = [pair for pair in rows if pair[1] in LIVE]
        if live:
            # ids that Stripe made break ties: rows are made in the order in which events come
            return max(live, key=lambda pair: (RANKS.get(pair[0].plan or "", 0), pair[0].stripe_subscription_id))
        return max(rows, key=lambda pair: (pair[0].told_at, pair[0].stripe_subscription_id), default=None)

    async def work_out(self) -> None:
        """Writes the tenant's tier and status, and with another tier its limits.

        What a tenant that never subscribed has is its operator's, and so are numbers that are no tier's.
        """
        found = await self.current()
        if found is None:
            return
        row, status = found
        tier = PLANS[row.plan].tier if row.plan and status in LIVE else NO_PLAN_TIER
        standing = _standing(status)
        if standing is None or (self._tenant.subscription_tier, self._tenant.subscription_status) == (tier, standing):
            return
        if self._tenant.subscription_tier != tier:
            for name, number in self._plans.limits(tier).items():
                if self._plans.is_of_a_tier(name, getattr(self._tenant, name)):
                    setattr(self._tenant, name, number)
        self._tenant.subscription_tier, self._tenant.subscription_status = tier, standing
        self._tenant.updated_at = now()
        self._session.add(self._tenant)
        await self._session.flush()


def _tell(row: Subscription, told: Sub) -> None:
    row.stripe_customer_id = told.traces.customer or row.stripe_customer_id
    row.plan, row.price_id, row.status = told.plan, told.price_id, told.status
    row.cancel_at_period_end, row.canceled_at = told.cancel_at_period_end, told.canceled_at
    row.current_period_start, row.current_period_end = told.period_start, told.period_end
    row.stripe_schedule_id = told.schedule
    if told.schedule is None:
        row.next_plan = None


def _standing(status: str) -> str | None:
    """The tenant's status for that of its subscription; None for one that was never paid."""
    if status in ("active", "past_due"):
        return status
    return {"trialing": "trial", "unpaid": "suspended", "paused": "suspended", "canceled": "cancelled"}.get(status)
