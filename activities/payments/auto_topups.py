"""Automatic top-ups: one payment with the card on file for each time that a balance falls below its threshold.

A fall is answered in two steps: first the payment is written down and the rule disarmed, in one transaction; then Stripe is
asked, with the payment's own idempotency key. Whoever dies in between leaves a payment that the next look brings to Stripe.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from activities.payments.applying import Applier
from activities.payments.booking import Books, Refused
from activities.payments.client import StripeApi
from activities.payments.customers import customer_of, is_customer_gone
from activities.payments.plans import CURRENCY
from activities.payments.reading import Unreadable, intent
from models.database import Database
from models.repositories.ledger import LedgerRepository
from models.repositories.payments import AutoTopupRepository, PaymentRepository, fallen, left_behind, month_of
from models.tables import Payment
from models.tables.base import now
from omium_core.errors import IdempotencyConflict, OmiumError, TenantErased, Unavailable
from omium_core.payment_errors import PaymentDeclined, PaymentServiceFailed
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: A payment that was begun so long ago was left by a process that died.
LEFT_AFTER = timedelta(seconds=60)


class AutoTopups:
    """Belongs to one event loop."""

    def __init__(self, database: Database, api: StripeApi, applier: Applier, settings: Settings) -> None:
        self._database = database
        self._api = api
        self._applier = applier
        self._grace_days = settings.plan_grace_days

    async def once(self, *, left_after: timedelta = LEFT_AFTER) -> None:
        """Answers the falls of now, and brings to an end what was left."""
        async with self._database.system() as session:
            tenants = await fallen(session)
            left = await left_behind(session, older_than=left_after)
        for tenant_id in tenants:
            payment_id = await self.begin(tenant_id)
            if payment_id is not None:
                await self._safely(tenant_id, payment_id)
        for tenant_id, payment_id in left:
            await self._safely(tenant_id, payment_id)

    async def begin(self, tenant_id: UUID) -> UUID | None:
        """Writes down the payment of a fall. None if there is nothing to pay (any more)."""
        try:
            async with self._database.transaction(tenant_id) as session:
                await PaymentRepository(session, tenant_id).lock()
                rules = AutoTopupRepository(session, tenant_id)
                rule = await rules.get(lock=True)
                account = await LedgerRepository(session, tenant_id).account()
                if rule is None or not rule.enabled or not rule.armed or rule.paused_at is not None:
                    return None
                if account.available >= rule.threshold:
                    return None
                payments = PaymentRepository(session, tenant_id)
                month = month_of(now())
                if rule.month != month:
                    rule.month, rule.in_month = month, 0
                if rule.in_month >= rule.max_per_month:
                    await payments.notice(
                        "topup.limit",
                        f"topup.limit:{month}",
                        {"max_per_month": rule.max_per_month, "month": str(month)},
                    )
                    return None
                rule.falls, rule.in_month, rule.armed = rule.falls + 1, rule.in_month + 1, False
                await rules.add(rule)
                payment = Payment(
                    tenant_id=tenant_id,
                    kind="auto_topup",
                    amount_cents=rule.amount_cents,
                    request_key=f"auto_topup:{rule.falls}",
                )
                await payments.add(payment)
                return payment.id
        except TenantErased:
            return None

    async def _safely(self, tenant_id: UUID, payment_id: UUID) -> None:
        try:
            await self.pay(tenant_id, payment_id)
        except (Unavailable, TenantErased) as error:
            log.warning("an automatic top-up has to wait", payment_id=str(payment_id), reason=error.message)

    async def pay(self, tenant_id: UUID, payment_id: UUID) -> None:
        """Charges the card on file, once however often it is called. Raises `Unavailable` while Stripe is away."""
        async with self._database.transaction(tenant_id) as session:
            payment = await PaymentRepository(session, tenant_id).find(payment_id=payment_id)
        if payment is None or payment.status != "creating":
            return
        try:
            customer = await customer_of(self._database, self._api, tenant_id)
            method = await self._method_of(customer)
            if method is None:
                await self._failed(tenant_id, payment_id, "no_payment_method")
                return
            made = await self._api.create_intent(
                {
                    "amount": payment.amount_cents,
                    "currency": CURRENCY,
                    "customer": customer,
                    "payment_method": method,
                    "off_session": True,
                    "confirm": True,
                    "description": "Automatic top-up of credits",
                    "metadata": {
                        "tenant_id": str(tenant_id),
                        "payment_id": str(payment_id),
                        "purpose": "auto_topup",
                    },
                },
                f"omium-auto-topup-{payment_id}",
            )
        except PaymentDeclined as error:
            await self._failed(
                tenant_id,
                payment_id,
                str(error.details.get("decline_code") or "declined"),
                error.details.get("payment_intent_id"),
            )
            return
        except Unavailable:
            raise
        except IdempotencyConflict:
            # it was made with another card, by a process that died before it could say so
            found = await self._made(payment)
            if found is None:
                await self._failed(tenant_id, payment_id, "refused")
                return
            made = found
        except OmiumError as error:
            if not isinstance(error, PaymentServiceFailed):
                raise
            await self._failed(tenant_id, payment_id, str(error.details.get("reason") or "refused"))
            return
        try:
            # its event comes too, and changes nothing then
            await self._applier.apply(tenant_id, intent(made))
        except (Refused, Unreadable) as error:
            log.error("Stripe answered what was not asked", payment_id=str(payment_id), reason=str(error))

    async def _made(self, payment: Payment) -> dict[str, Any] | None:
        """The payment intent that was made for it, if any; clocks may differ a little."""
        async for each in self._api.intents(payment.created_at - timedelta(minutes=10)):
            if (each.get("metadata") or {}).get("payment_id") == str(payment.id):
                return each
        return None

    async def _method_of(self, customer: str) -> str | None:
        """The card that the customer pays invoices with, else the newest."""
        try:
            known = await self._api.customer(customer)
        except PaymentServiceFailed as error:
            if not is_customer_gone(error):
                raise
            known = {"deleted": True}
        if known.get("deleted"):
            # the next payment that a person begins makes another customer, and leaves a card there
            return None
        chosen = (known.get("invoice_settings") or {}).get("default_payment_method")
        if isinstance(chosen, dict):
            chosen = chosen.get("id")
        if isinstance(chosen, str):
            return chosen
        cards = await self._api.payment_methods(customer)
        return str(cards[0]["id"]) if cards else None

    async def _failed(self, tenant_id: UUID, payment_id: UUID, code: str, intent_id: str | None = None) -> None:
        """Tells people, and pauses the rule: a declined card is not tried again and again."""
        async with self._database.transaction(tenant_id) as session:
            payments = PaymentRepository(session, tenant_id)
            tenant = await payments.lock()
            payment = await payments.find(payment_id=payment_id)
            if payment is None or payment.status == "succeeded":
                return
            payment.status, payment.failure_code, payment.failed_at = "failed", code[:100], now()
            if intent_id is not None and payment.stripe_payment_intent_id is None:
                payment.stripe_payment_intent_id = intent_id
            await payments.add(payment)
            await payments.notice(
                "payment.failed",
                f"payment.failed:{payment_id}",
                {
                    "payment_id": str(payment_id),
                    "amount_usd": payment.amount_cents / 100,
                    "code": code,
                    "automatic": True,
                },
            )
            await Books(session, tenant, self._applier.plans, self._grace_days).pause_rule(code)
