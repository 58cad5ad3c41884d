"""Top-ups: a payment intent that a page confirms. Its credits come when Stripe says that it was paid."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.payments.client import StripeApi
from activities.payments.customers import customer_of
from activities.payments.plans import CURRENCY
from models.database import Database
from models.repositories.payments import PaymentRepository
from models.tables import Payment
from models.tables.base import new_id
from omium_core.errors import IdempotencyConflict


async def begin(
    database: Database,
    api: StripeApi,
    tenant_id: UUID,
    cents: int,
    *,
    key: str | None,
    user_id: UUID | None,
    save_card: bool,
) -> dict[str, Any]:
    """The payment intent. The same `key` gives the same one; with another amount it is an `IdempotencyConflict`.

    The payment is written down before Stripe is asked: whoever dies in between, and is asked again, makes no second one.
    """
    payment = await _written(database, tenant_id, cents, key, user_id)
    if payment.amount_cents != cents:
        raise IdempotencyConflict("This Idempotency-Key was used for another amount.")
    if payment.stripe_payment_intent_id is not None:
        return await api.intent(payment.stripe_payment_intent_id)
    customer = await customer_of(database, api, tenant_id)
    params: dict[str, Any] = {
        "amount": cents,
        "currency": CURRENCY,
        "customer": customer,
        "automatic_payment_methods": {"enabled": True},
        "description": "Top-up of credits",
        "metadata": {"tenant_id": str(tenant_id), "payment_id": str(payment.id), "purpose": "topup"},
    }
    if save_card:
        params["setup_future_usage"] = "off_session"
    made = await api.create_intent(params, f"omium-topup-{payment.id}")
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


async def _written(database: Database, tenant_id: UUID, cents: int, key: str | None, user_id: UUID | None) -> Payment:
    request_key = f"topup:{key or new_id()}"[:255]
    async with database.transaction(tenant_id) as session:
        payments = PaymentRepository(session, tenant_id)
        await payments.lock()
        found = await payments.find(request_key=request_key)
        if found is None:
            found = Payment(
                tenant_id=tenant_id, kind="topup", amount_cents=cents, request_key=request_key, user_id=user_id
            )
            await payments.add(found)
        return found
