"""What `client.billing` answers about payments: top-ups, subscriptions, plans, invoices."""

from __future__ import annotations

from typing import TypedDict


class TopUp(TypedDict, total=False):
    """`client_secret` and `publishable_key` are for the page that confirms the payment."""

    client_secret: str
    amount_cents: int
    credits_to_add: int
    payment_intent_id: str
    status: str
    publishable_key: str | None


class Checkout(TypedDict, total=False):
    """`checkout_url` is a page of Stripe's."""

    checkout_session_id: str
    checkout_url: str | None
    plan: str
    publishable_key: str | None


class Subscription(TypedDict, total=False):
    plan: str | None
    tier: str
    status: str
    next_plan: str | None
    cancel_at_period_end: bool
    current_period_start: str | None
    current_period_end: str | None
    canceled_at: str | None
    credits_per_month: int | None
    stripe_subscription_id: str | None


class Plan(TypedDict, total=False):
    name: str
    title: str
    description: str
    price_usd: float | None
    interval: str
    credits_per_month: int | None
    tier: str
    limits: dict[str, int]
    available: bool
    current: bool


class Plans(TypedDict, total=False):
    plans: list[Plan]
    credits_per_usd: int
    minimum_topup_usd: float


class Invoice(TypedDict, total=False):
    id: str
    number: str | None
    status: str | None
    currency: str
    subtotal_usd: float
    tax_usd: float
    total_usd: float
    amount_paid_usd: float
    created_at: str
    period_start: str | None
    period_end: str | None
    hosted_invoice_url: str | None
    pdf_url: str | None


class InvoicePage(TypedDict, total=False):
    invoices: list[Invoice]
    limit: int
    next_cursor: str | None


class Portal(TypedDict, total=False):
    url: str


class AutoTopUp(TypedDict, total=False):
    """`paused_reason` is why the last payment failed; nothing is paid until the rule is set again."""

    enabled: bool
    threshold_credits: float | None
    amount_usd: float | None
    max_per_month: int | None
    topups_this_month: int
    paused_reason: str | None
    paused_at: str | None
