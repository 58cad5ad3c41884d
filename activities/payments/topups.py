"""Top-ups: a payment intent that a page confirms. Its credits come when Stripe says that it was paid."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.payments.client import StripeApi
from activities.payments.customers import with_customer
from activities.payments.plans import CURRENCY
from models.database import Database
from models.repositories.payments import PaymentRepository
from models.tables import Payment
from models.tables.base import new_id
from omium_core.errors import IdempotencyConflict


async def write(
    database: Database,
    tenant_id: UUID,
    cents: int,
    *,
    key: str | None,
    digest: str,
    user_id: UUID | None,
) -> Payment:
    """Writes the payment down before Stripe is asked: whoever dies in between, and is asked again, makes no second one.

    The same `key` gives the same one; for another request, which `digest` tells, it is an `IdempotencyConflict`.
    """
    request_key = f"topup:{key or new_id()}"[:255]
    async with database.transaction(tenant_id) as session:
        payments = PaymentRepository(session, tenant_id)
        await payments.lock()
        found = await payments.find(request_key=request_key)
        if found is None:
            found = Payment(
                tenant_id=tenant_id,
                kind="topup",
                amount_cents=cents,
                request_key=request_key,
                request_hash=digest,
                user_id=user_id,
            )
            await payments.add(found)
        elif found.request_hash != digest:
            raise IdempotencyConflict("This Idempotency-Key was used for another request.")
        return found


async def begin(database: Database, api: StripeApi, payment: Payment, *, save_card: bool) -> dict[str, Any]:
    """The payment intent of a payment that was written down, however often it is asked for."""
    tenant_id = payment.tenant_id
    if payment.stripe_payment_intent_id is not None:
        return await api.intent(payment.stripe_payment_intent_id)
    params: dict[str, Any] = {
        "amount": payment.amount_cents,
        "currency": CURRENCY,
        "automatic_payment_methods": {"enabled": True},
        "description": "Top-up of credits",
        "metadata": {"tenant_id": str(tenant_id), "payment_id": str(payment.id), "purpose": "topup"},
    }
    if save_card:
        params["setup_future_usage"] = "off_session"

    async def make(customer: str) -> dict[str, Any]:
        # Stripe keeps refusals under their key too: for another customer it is another request
        return await api.create_intent({**params, "customer": customer}, f"omium-topup-{payment.id}-{customer}")

    made = await with_customer(database, api, tenant_id, make)
    async with database.transaction(tenant_id) as session:
        payments = PaymentRepository(session, tenant_id)
        await payments.lock()
        row = await payments.find(payment_id=payment.id)
        # its event may have been quicker
        if row is not None and row.stripe_payment_intent_id is None:
            row.stripe_payment_intent_id = made["id"]
            row.status = "pending" if row.status == "creating" else row.status
            await payments.add(row)
    return made
