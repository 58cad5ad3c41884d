"""A tenant's payments and what of them went back, its subscriptions, its rule for automatic top-ups."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Repository
from models.tables import AutoTopup, Payment, PaymentReturn, Subscription, Tenant
from models.tables.base import now

_NOTICE = text(
    "SELECT credit_notice(CAST(:tenant AS uuid), CAST(:kind AS text), CAST(:key AS text), CAST(:data AS jsonb), "
    "CAST(:now AS timestamptz))"
)
#: Rules whose tenants have fallen below their threshold, and automatic payments that a process left behind.
_FALLEN = text("""
SELECT r.tenant_id FROM auto_topups r LEFT JOIN credit_accounts a ON a.tenant_id = r.tenant_id
WHERE r.enabled AND r.armed AND r.paused_at IS NULL AND coalesce(a.available, 0) < r.threshold
-- those who have reached their limit stay in it, and must not stand before others
ORDER BY random() LIMIT 100
""")
_LEFT = text("""
SELECT tenant_id, id FROM payments WHERE kind = 'auto_topup' AND status = 'creating' AND created_at < :before LIMIT 100
""")


class PaymentRepository(Repository):
    """Whoever changes payments of a tenant locks the tenant first: facts come from several processes at once."""

    async def lock(self) -> Tenant:
        """The tenant, until the transaction ends. Rows that refer to it can be written meanwhile."""
        query = select(Tenant).where(col(Tenant.id) == self.tenant_id).with_for_update(key_share=True)
        tenant: Tenant = (await self.session.execute(query)).scalar_one()
        return tenant

    async def find(
        self,
        *,
        payment_id: UUID | None = None,
        intent: str | None = None,
        invoice: str | None = None,
        request_key: str | None = None,
    ) -> Payment | None:
        """The payment that one of these names, tried in this order."""
        for column, value in (
            (Payment.stripe_payment_intent_id, intent),
            (Payment.stripe_invoice_id, invoice),
            (Payment.id, payment_id),
            (Payment.request_key, request_key),
        ):
            if value is None:
                continue
            query = select(Payment).where(col(Payment.tenant_id) == self.tenant_id, col(column) == value)
            found = (await self.session.execute(query)).scalar_one_or_none()
            if found is not None:
                payment: Payment = found
                return payment
        return None

    async def failed_since(self, subscription_id: str, since: datetime) -> bool:
        """Whether an invoice of the subscription failed since then, and is still not paid."""
        query = select(col(Payment.id)).where(
            col(Payment.tenant_id) == self.tenant_id,
            col(Payment.stripe_subscription_id) == subscription_id,
            col(Payment.status) == "failed",
            col(Payment.failed_at) >= since,
        )
        return (await self.session.execute(query.limit(1))).scalar_one_or_none() is not None

    async def returns(self, intent: str) -> Sequence[PaymentReturn]:
        """What goes back of a payment."""
        query = select(PaymentReturn).where(
            col(PaymentReturn.tenant_id) == self.tenant_id, col(PaymentReturn.stripe_payment_intent_id) == intent
        )
        return (await self.session.execute(query)).scalars().all()

    async def find_return(self, stripe_id: str) -> PaymentReturn | None:
        query = select(PaymentReturn).where(
            col(PaymentReturn.tenant_id) == self.tenant_id, col(PaymentReturn.stripe_id) == stripe_id
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def add(self, row: Payment | PaymentReturn) -> None:
        row.updated_at = now()
        self.session.add(row)
        await self.session.flush()

    async def link_customer(self, customer: str, *, instead_of: str | None = None) -> str | None:
        """Keeps the tenant's customer of Stripe's, if it has none, or the one that is to be replaced.

        The one that it has; None if this one is another tenant's.
        """
        before = col(Tenant.stripe_customer_id)
        try:
            async with self.session.begin_nested():
                await self.session.execute(
                    update(Tenant)
                    .where(col(Tenant.id) == self.tenant_id, before.is_(None) | (before == instead_of))
                    .values(stripe_customer_id=customer, updated_at=now())
                )
        except IntegrityError:
            return None
        query = select(col(Tenant.stripe_customer_id)).where(col(Tenant.id) == self.tenant_id)
        return (await self.session.execute(query)).scalar_one()

    async def notice(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """People hear of something, once for each `key`."""
        values = {"tenant": self.tenant_id, "kind": kind, "key": key, "data": json.dumps(dict(data)), "now": now()}
        await self.session.execute(_NOTICE, values)


class SubscriptionRepository(Repository):
    async def find(self, stripe_id: str) -> Subscription | None:
        query = select(Subscription).where(
            col(Subscription.tenant_id) == self.tenant_id, col(Subscription.stripe_subscription_id) == stripe_id
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def all(self) -> Sequence[Subscription]:
        """All that the tenant ever had, the newest first."""
        query = select(Subscription).where(col(Subscription.tenant_id) == self.tenant_id)
        return (await self.session.execute(query.order_by(col(Subscription.id).desc()))).scalars().all()

    async def add(self, row: Subscription) -> None:
        row.updated_at = now()
        self.session.add(row)
        await self.session.flush()


class AutoTopupRepository(Repository):
    async def get(self, *, lock: bool = False) -> AutoTopup | None:
        query = select(AutoTopup).where(col(AutoTopup.tenant_id) == self.tenant_id)
        return (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()

    async def add(self, row: AutoTopup) -> None:
        row.updated_at = now()
        self.session.add(row)
        await self.session.flush()


def month_of(at: datetime) -> date:
    """The first day of its month, in UTC."""
    return at.date().replace(day=1)


async def fallen(session: AsyncSession) -> Sequence[UUID]:
    """Tenants whose rule asks for a top-up. System role."""
    return (await session.execute(_FALLEN)).scalars().all()


async def left_behind(session: AsyncSession, *, older_than: timedelta) -> Sequence[tuple[UUID, UUID]]:
    """Tenants with automatic payments that were begun, and not brought to Stripe as far as is known. System role."""
    return [(row.tenant_id, row.id) for row in await session.execute(_LEFT, {"before": now() - older_than})]
