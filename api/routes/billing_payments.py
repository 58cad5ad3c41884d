"""`/billing`, as far as Stripe is behind it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query

from api.auth.principal import Principal
from api.deps import Payments, requires
from api.schemas.billing_payments import (
    AutoTopupUpdate,
    AutoTopupView,
    CheckoutView,
    InvoiceList,
    PlanList,
    PortalRequest,
    PortalView,
    SubscribeRequest,
    SubscriptionUpdate,
    SubscriptionView,
    TopupRequest,
    TopupView,
)

router = APIRouter(prefix="/billing", tags=["billing"])

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200)]


@router.post("/topup", response_model=TopupView)
async def topup(
    body: TopupRequest,
    payments: Payments,
    caller: Annotated[Principal, requires("billing:manage")],
    idempotency_key: IdempotencyKey = None,
) -> TopupView:
    """Begins a payment, which a page confirms with `client_secret`. The credits come when it is paid."""
    return await payments.topup(caller, body, idempotency_key)


@router.get("/plans", response_model=PlanList)
async def plans(payments: Payments, caller: Annotated[Principal, requires("billing:read")]) -> PlanList:
    """What there is to subscribe to. Answers without Stripe, too."""
    return await payments.plans(caller)


@router.get("/subscription", response_model=SubscriptionView)
async def subscription(payments: Payments, caller: Annotated[Principal, requires("billing:read")]) -> SubscriptionView:
    """The plan that the tenant has, and how it stands."""
    return await payments.subscription(caller)


@router.post("/subscription", status_code=201, response_model=CheckoutView)
async def subscribe(
    body: SubscribeRequest,
    payments: Payments,
    caller: Annotated[Principal, requires("billing:manage")],
    idempotency_key: IdempotencyKey = None,
) -> CheckoutView:
    """Begins a subscription, which is paid on Stripe's page."""
    return await payments.subscribe(caller, body, idempotency_key)


@router.put("/subscription", response_model=SubscriptionView)
async def change_subscription(
    body: SubscriptionUpdate,
    payments: Payments,
    caller: Annotated[Principal, requires("billing:manage")],
    idempotency_key: IdempotencyKey = None,
) -> SubscriptionView:
    """To a dearer plan at once, to a cheaper one with the next period; or whether it ends with the period."""
    return await payments.change(caller, body, idempotency_key)


@router.delete("/subscription", response_model=SubscriptionView)
async def cancel_subscription(
    payments: Payments,
    caller: Annotated[Principal, requires("billing:manage")],
    immediately: Annotated[bool, Query(description="At once, and not with the period that was paid")] = False,
) -> SubscriptionView:
    """Ends the subscription, with the period that was paid unless told otherwise."""
    return await payments.cancel(caller, immediately=immediately)


@router.post("/portal", response_model=PortalView)
async def portal(
    payments: Payments, caller: Annotated[Principal, requires("billing:manage")], body: PortalRequest | None = None
) -> PortalView:
    """A page of Stripe's, where the tenant's people change cards, addresses and plans themselves."""
    return await payments.portal(caller, body or PortalRequest())


@router.get("/invoices", response_model=InvoiceList)
async def invoices(
    payments: Payments,
    caller: Annotated[Principal, requires("billing:read")],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[
        str | None, Query(pattern="^in_[A-Za-z0-9_]{1,200}$", description="`next_cursor` of the answer before")
    ] = None,
) -> InvoiceList:
    """Invoices, the newest first, with the addresses of their PDF files."""
    return await payments.invoices(caller, limit, cursor)


@router.get("/auto-topup", response_model=AutoTopupView)
async def auto_topup(payments: Payments, caller: Annotated[Principal, requires("billing:read")]) -> AutoTopupView:
    """The rule by which the balance is filled up by itself."""
    return await payments.auto_topup(caller)


@router.put("/auto-topup", response_model=AutoTopupView)
async def set_auto_topup(
    body: AutoTopupUpdate, payments: Payments, caller: Annotated[Principal, requires("billing:manage")]
) -> AutoTopupView:
    """Pays `amount_usd` with the card on file each time that the balance falls below the threshold."""
    return await payments.set_auto_topup(caller, body)
