"""What Stripe and its events hold of a tenant that is erased: its customers at Stripe, and the bodies of events that name it."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import text

from activities.payments.client import StripeApi
from activities.payments.customers import is_customer_gone
from models.database import Database
from models.repositories import stripe_events
from omium_core.payment_errors import PaymentServiceFailed

log = structlog.get_logger(__name__)

# read as the tenant, and without a cipher: there is none any more
_IDS = text("""
SELECT array(
    SELECT stripe_customer_id FROM tenants WHERE id = :tenant AND stripe_customer_id IS NOT NULL
    UNION SELECT stripe_customer_id FROM subscriptions WHERE tenant_id = :tenant AND stripe_customer_id IS NOT NULL
) AS customers, array(
    SELECT stripe_payment_intent_id FROM payments WHERE tenant_id = :tenant AND stripe_payment_intent_id IS NOT NULL
    UNION SELECT stripe_invoice_id FROM payments WHERE tenant_id = :tenant AND stripe_invoice_id IS NOT NULL
    UNION SELECT stripe_subscription_id FROM subscriptions WHERE tenant_id = :tenant
    UNION SELECT stripe_id FROM payment_returns WHERE tenant_id = :tenant
) AS others
""")


async def erase_at_stripe(database: Database, api: StripeApi | None, tenant_id: UUID) -> None:
    """Deletes the tenant's customers, which ends their subscriptions at once, and empties the events that name the tenant.

    Doing it again does no harm. Raises `PaymentServiceUnavailable` while Stripe is away: a card must not be charged for ever.
    """
    known = await database.statement(tenant_id, _IDS, {"tenant": tenant_id})
    for customer in known.customers:
        if api is None:
            log.warning("without a key of Stripe its customer stays there", tenant_id=str(tenant_id), customer=customer)
            continue
        try:
            await api.delete_customer(customer)
        except PaymentServiceFailed as error:
            if not is_customer_gone(error):
                # no reason to keep the tenant's rows; who runs the installation deletes it at Stripe by hand
                log.error("Stripe does not delete a customer", customer=customer, reason=error.message)
    async with database.system() as session:
        emptied = await stripe_events.forget_about(session, [str(tenant_id), *known.customers, *known.others])
    log.info("events of Stripe were emptied", tenant_id=str(tenant_id), events=emptied)
