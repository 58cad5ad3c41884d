"""`/billing`, as far as Stripe is behind it: top-ups, subscriptions, plans, invoices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from api.schemas.common import Line, Request, Text
from omium_core.stripe_settings import TierLimit

PlanName = Literal["developer", "pro", "enterprise"]
#: As people write it: Pro is the plan that is shown as such.
WantedPlan = Annotated[PlanName, BeforeValidator(lambda name: name.strip().lower() if isinstance(name, str) else name)]
#: Checked by hand: what is wrong with money is told as such, with status 400.
Dollars = Annotated[
    Any,
    WithJsonSchema({"type": "number", "minimum": 10, "maximum": 999999.99, "multipleOf": 0.01, "title": "US dollars"}),
]
Url = Annotated[Text, Field(min_length=1, max_length=2000)]


class EventReceived(BaseModel):
    received: bool


class BillingAddress(Request):
    line1: Annotated[Line, Field(max_length=200)] | None = None
    line2: Annotated[Line, Field(max_length=200)] | None = None
    city: Annotated[Line, Field(max_length=200)] | None = None
    state: Annotated[Line, Field(max_length=200)] | None = None
    postal_code: Annotated[Line, Field(max_length=50)] | None = None
    country: Annotated[str, Field(pattern="^[A-Z]{2}$", description="Two letters, as in ISO 3166")] | None = None


class TaxId(Request):
    type: Annotated[
        str, Field(pattern="^[a-z]{2}_[a-z0-9_]{2,20}$", description="As Stripe names it, such as `eu_vat`")
    ]
    value: Annotated[Line, Field(max_length=100)]


class TaxFields(Request):
    """What is passed on to Stripe, which works out taxes from it."""

    billing_address: BillingAddress | None = None
    tax_ids: Annotated[list[TaxId], Field(max_length=5)] | None = None


class TopupRequest(TaxFields):
    amount_usd: Dollars = None
    save_card: Annotated[bool, Field(description="Keep the card for automatic top-ups")] = True


class TopupView(BaseModel):
    """`client_secret` and `publishable_key` are for the page that confirms the payment."""

    client_secret: str
    amount_cents: int
    credits_to_add: int
    payment_intent_id: str
    status: str
    publishable_key: str | None


class SubscribeRequest(TaxFields):
    plan: WantedPlan
    success_url: Url | None = None
    cancel_url: Url | None = None


class CheckoutView(BaseModel):
    """`checkout_url` is a page of Stripe's, where the plan is paid."""

    checkout_session_id: str
    checkout_url: str | None
    plan: PlanName
    publishable_key: str | None


class SubscriptionUpdate(Request):
    """Another plan, or whether it ends with the period."""

    plan: WantedPlan | None = None
    cancel_at_period_end: bool | None = None


class SubscriptionView(BaseModel):
    """`plan` is null, and `status` is `none`, without a subscription. `next_plan` begins at the end of the period."""

    plan: PlanName | None
    tier: str
    status: str
    next_plan: PlanName | None = None
    cancel_at_period_end: bool = False
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    canceled_at: datetime | None = None
    credits_per_month: int | None = None
    stripe_subscription_id: str | None = None


class PortalRequest(Request):
    return_url: Url | None = None


class PortalView(BaseModel):
    url: str


class PlanView(BaseModel):
    """`price_usd` is null where it is agreed on; `available` where this installation can sell it.

    `limits` are what a tenant gets with the plan, unless the operator gave it numbers of its own.
    """

    name: PlanName
    title: str
    description: str
    price_usd: float | None
    interval: str
    credits_per_month: int | None
    tier: str
    limits: dict[TierLimit, int]
    available: bool
    current: bool


class PlanList(BaseModel):
    plans: list[PlanView]
    credits_per_usd: int
    minimum_topup_usd: float


class InvoiceView(BaseModel):
    id: str
    number: str | None
    status: str | None
    currency: str
    subtotal_usd: float
    tax_usd: float
    total_usd: float
    amount_paid_usd: float
    created_at: datetime
    period_start: datetime | None
    period_end: datetime | None
    hosted_invoice_url: str | None
    pdf_url: str | None


class InvoiceList(BaseModel):
    """`next_cursor` is the `cursor` of the next page."""

    invoices: list[InvoiceView]
    limit: int
    next_cursor: str | None


class AutoTopupUpdate(Request):
    """A rule that is set again is no longer paused."""

    enabled: bool = True
    threshold_credits: Annotated[int, Field(ge=0, le=1_000_000_000)]
    amount_usd: Dollars = None
    max_per_month: Annotated[int, Field(ge=1, le=1000)] = 10


class AutoTopupView(BaseModel):
    """`paused_reason` is why the last payment failed; nothing is paid until the rule is set again."""

    enabled: bool
    threshold_credits: int | float | None
    amount_usd: float | None
    max_per_month: int | None
    topups_this_month: int
    paused_reason: str | None
    paused_at: datetime | None
