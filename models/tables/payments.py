"""What Stripe tells of money: its events, the payments and returns that they speak of, subscriptions, automatic top-ups.

Amounts of money are in cents of a US dollar, amounts of credits in millionths of a credit. Rows gather facts, whatever the
order in which these arrive; what follows from them (grants, tiers) is worked out anew each time.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, optional_time_field, time_field

PLANS = ("developer", "pro", "enterprise")
_PLANS = ", ".join(repr(plan) for plan in PLANS)


class StripeWebhookEvent(Table, table=True):
    """A signed event of Stripe, kept once. Belongs to the platform: the application cannot look at it.

    It waits to be worked off as long as `processed_at` is empty. What was refused has `processing_error`, and is not
    `processed`. `about` holds the ids that an event without a tenant would be known by.
    """

    __tablename__ = "stripe_webhook_events"
    __table_args__ = (
        Index("ix_stripe_webhook_events_waiting", "created_at", postgresql_where=text("processed_at IS NULL")),
        Index("ix_stripe_webhook_events_orphans", "created_at", postgresql_where=text("cardinality(about) > 0")),
    )

    id: UUID = id_field()
    stripe_event_id: str = Field(max_length=255, unique=True)
    event_type: str = Field(max_length=100)
    processed: bool = False
    processing_error: str | None = None
    event_data: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    about: list[str] = Field(
        default_factory=list, sa_type=ARRAY(String(255)), sa_column_kwargs={"server_default": text("'{}'")}
    )
    created_at: datetime = time_field()
    processed_at: datetime | None = optional_time_field()


class StripeCursor(Table, table=True):
    """How far the platform has asked Stripe what it missed."""

    __tablename__ = "stripe_cursors"

    name: str = Field(max_length=50, primary_key=True)
    reached_at: datetime = time_field()


class Payment(Table, table=True):
    """Money that a tenant pays: a top-up, an automatic one, or an invoice of a subscription.

    `credits` is what it grants, once `granted_at` is set. Of that, `returned` was taken back for refunds and disputes, and
    `shortfall` should have been, and was spent already.
    """

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("kind IN ('topup', 'auto_topup', 'invoice')", name="valid_kind"),
        CheckConstraint("status IN ('creating', 'pending', 'failed', 'canceled', 'succeeded')", name="valid_status"),
        CheckConstraint("returned >= 0 AND shortfall >= 0", name="not_negative"),
        UniqueConstraint("tenant_id", "request_key"),
        Index("ix_payments_tenant_id_id", "tenant_id", "id"),
        Index("ix_payments_creating", "created_at", postgresql_where=text("status = 'creating'")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    kind: str = Field(max_length=20)
    stripe_payment_intent_id: str | None = Field(default=None, max_length=255, unique=True)
    stripe_invoice_id: str | None = Field(default=None, max_length=255, unique=True)
    stripe_subscription_id: str | None = Field(default=None, max_length=255)
    #: The Idempotency-Key of the request that began it; of an automatic one, which fall it answers.
    request_key: str | None = Field(default=None, max_length=255)
    request_hash: str | None = Field(default=None, max_length=64)
    amount_cents: int = Field(sa_type=BigInteger)
    currency: str = Field(default="usd", max_length=10)
    status: str = Field(default="creating", max_length=20)
    failure_code: str | None = Field(default=None, max_length=100)
    failed_at: datetime | None = optional_time_field()
    credits: int = Field(default=0, sa_type=BigInteger)
    granted_at: datetime | None = optional_time_field()
    returned: int = Field(default=0, sa_type=BigInteger)
    shortfall: int = Field(default=0, sa_type=BigInteger)
    #: Counts the movements that followed its grant: each has a key of its own.
    moves: int = 0
    user_id: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    completed_at: datetime | None = optional_time_field()


class PaymentReturn(Table, table=True):
    """Money that goes back: a refund, a dispute, or what a charge says of all its refunds together."""

    __tablename__ = "payment_returns"
    __table_args__ = (
        CheckConstraint("kind IN ('refund', 'charge', 'dispute')", name="valid_kind"),
        CheckConstraint("state IN ('asked', 'open', 'kept', 'void')", name="valid_state"),
        UniqueConstraint("tenant_id", "stripe_id"),
        Index("ix_payment_returns_payment", "tenant_id", "stripe_payment_intent_id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    stripe_id: str = Field(max_length=255)
    kind: str = Field(max_length=20)
    stripe_payment_intent_id: str = Field(max_length=255)
    amount_cents: int = Field(sa_type=BigInteger)
    #: `open` and `kept` count, `void` does not: a refund that failed, a dispute that was won. They only go this way.
    state: str = Field(max_length=10)
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class Subscription(Table, table=True):
    """A subscription as the newest of its events says. `revision` orders these: a later one is greater as a text."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint(f"plan IN ({_PLANS})", name="valid_plan"),
        Index("ix_subscriptions_tenant_id_id", "tenant_id", "id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    stripe_subscription_id: str = Field(max_length=255, unique=True)
    stripe_customer_id: str | None = Field(default=None, max_length=255)
    plan: str | None = Field(default=None, max_length=20)
    #: What it becomes at the end of the period, by a schedule of Stripe's.
    next_plan: str | None = Field(default=None, max_length=20)
    stripe_schedule_id: str | None = Field(default=None, max_length=255)
    price_id: str | None = Field(default=None, max_length=255)
    status: str = Field(max_length=30)
    cancel_at_period_end: bool = False
    current_period_start: datetime | None = optional_time_field()
    current_period_end: datetime | None = optional_time_field()
    canceled_at: datetime | None = optional_time_field()
    told_at: datetime = time_field()
    revision: str = Field(max_length=400)
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class AutoTopup(Table, table=True):
    """A tenant's rule: below `threshold`, `amount_cents` are paid by the card on file, `max_per_month` times at most.

    `armed` until a fall is answered, and again when its credits are there. `falls` counts the falls. A payment that was
    declined pauses the rule.
    """

    __tablename__ = "auto_topups"
    __table_args__ = (CheckConstraint("threshold >= 0 AND amount_cents > 0 AND max_per_month > 0", name="valid_rule"),)

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    enabled: bool = True
    threshold: int = Field(sa_type=BigInteger)
    amount_cents: int = Field(sa_type=BigInteger)
    max_per_month: int
    armed: bool = True
    falls: int = 0
    #: The month (UTC) that `in_month` counts.
    month: date | None = None
    in_month: int = 0
    paused_reason: str | None = Field(default=None, max_length=100)
    paused_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
