"""The customer that a tenant is at Stripe: made once, however many ask for it at once."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from activities.payments.client import StripeApi
from models.database import Database
from models.repositories.payments import PaymentRepository
from models.tables import Tenant
from omium_core.payment_errors import PaymentServiceFailed

#: Fields of an address that Stripe knows.
ADDRESS = ("line1", "line2", "city", "state", "postal_code", "country")


async def customer_of(database: Database, api: StripeApi, tenant_id: UUID) -> str:
    """The id of the tenant's customer, which is made if there is none yet."""
    async with database.system() as session:
        tenant: Tenant = (await session.execute(select(Tenant).where(col(Tenant.id) == tenant_id))).scalar_one()
    if tenant.stripe_customer_id is not None:
        return tenant.stripe_customer_id
    params: dict[str, Any] = {"name": tenant.name, "metadata": {"tenant_id": str(tenant_id)}}
    if tenant.billing_email:
        params["email"] = tenant.billing_email
    address = {name: value for name, value in (tenant.billing_address or {}).items() if name in ADDRESS and value}
    if address:
        params["address"] = address
    # two who ask at once say the same, and so get the same customer
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]
    made = await api.create_customer(params, f"omium-customer-{tenant_id}-{digest}")
    async with database.transaction(tenant_id) as session:
        kept = await PaymentRepository(session, tenant_id).link_customer(made["id"])
    if kept is None:
        raise PaymentServiceFailed("Stripe knows this customer as another tenant's.", reason="customer_taken")
    return kept
