"""What Stripe's objects say, as facts: made by `reading` from the payload of an event, or from an answer of the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from models.repositories.stripe_events import Traces

#: A subscription that is so stays so.
ENDED = ("canceled", "incomplete_expired")


@dataclass(frozen=True)
class Intent:
    """A payment intent. `amount` is what was received where it succeeded, in cents."""

    id: str
    status: str
    amount: int
    currency: str
    traces: Traces
    payment_id: UUID | None = None
    automatic: bool = False
    of_invoice: bool = False
    failure_code: str | None = None
    attempt: str = ""


@dataclass(frozen=True)
class Line:
    plan: str | None
    amount: int
    proration: bool
    period_end: int | None


@dataclass(frozen=True)
class Invoice:
    """An invoice that was `paid`, or whose payment failed."""

    id: str
    paid: bool
    total: int
    amount: int
    currency: str
    traces: Traces
    at: datetime
    attempts: int
    lines: Sequence[Line] = field(default_factory=tuple)
    intent: str | None = None


@dataclass(frozen=True)
class InvoicePaid:
    """Which payment intent paid an invoice."""

    invoice: str
    intent: str
    traces: Traces


@dataclass(frozen=True)
class Back:
    """Money that goes back: `kind` is refund, charge or dispute; `state` is asked, open, kept or void."""

    id: str
    kind: str
    intent: str
    amount: int
    currency: str
    state: str
    traces: Traces


@dataclass(frozen=True)
class Sub:
    """A subscription. `revision` is greater, as a text, the later it was told."""

    id: str
    status: str
    plan: str | None
    price_id: str | None
    cancel_at_period_end: bool
    period_start: datetime | None
    period_end: datetime | None
    canceled_at: datetime | None
    schedule: str | None
    at: datetime
    revision: str
    traces: Traces


Fact = Intent | Invoice | InvoicePaid | Back | Sub
