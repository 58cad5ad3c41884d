"""The customer that a tenant is at Stripe: made once, however many ask for it at once, and anew where Stripe has it no more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlmodel import col

from activities.payments.client import StripeApi
from models.database import Database
from models.repositories.payments import PaymentRepository
from models.tables import Tenant
from omium_core.payment_errors import PaymentServiceFailed

log = structlog.get_logger(__name__)

_Answer = TypeVar("_Answer")

#: Fields of an address that Stripe knows.
ADDRESS = ("line1", "line2", "city", "state", "postal_code", "country")


async def with_customer(
    database: Database, api: StripeApi, tenant_id: UUID, ask: Callable[[str], Awaitable[_Answer]]
) -> _Answer:
    """What `ask` answers for the tenant's customer. One that was deleted at Stripe is replaced, and `ask` is called once more."""
    customer = await customer_of(database, api, tenant_id)
    try:
        return await ask(customer)
    except PaymentServiceFailed as error:
        if not is_customer_gone(error):
            raise
    log.warning("a customer is not at Stripe any more, and is made anew", tenant_id=str(tenant_id), customer=customer)
    return await ask(await customer_of(database, api, tenant_id, gone=customer))


def is_customer_gone(error: PaymentServiceFailed) -> bool:
    """Whether Stripe refused because it does not know the customer (any more)."""
    return error.details.get("reason") == "resource_missing" and "No such customer" in error.message


async def customer_of(database: Database, api: StripeApi, tenant_id: UUID, *, gone: str | None = None) -> str:
    """The id of the tenant's customer, which is made if there is none yet, or none but the one that is `gone`."""
    async with database.system() as session:
        tenant: Tenant = (await session.execute(select(Tenant).where(col(Tenant.id) == tenant_id))).scalar_one()
    if tenant.stripe_customer_id not in (None, gone):
        return str(tenant.stripe_customer_id)
    params: dict[str, Any] = {"name": tenant.name, "metadata": {"tenant_id": str(tenant_id)}}
    if tenant.billing_email:
        params["email"] = tenant.billing_email
    address = {name: value for name, value in (tenant.billing_address or {}).items() if name in ADDRESS and value}
    if address:
        params["address"] = address
    # two who ask at once say the same, and so get the same customer
    digest = hashlib.sha256(json.dumps([params, gone] if gone else params, sort_keys=True).encode()).hexdigest()[:16]
    made = await api.create_customer(params, f"omium-customer-{tenant_id}-{digest}")
    async with database.transaction(tenant_id) as session:
        kept = await PaymentRepository(session, tenant_id).link_customer(made["id"], instead_of=gone)
    if kept is None:
        raise PaymentServiceFailed("Stripe knows this customer as another tenant's.", reason="customer_taken")
    return kept
