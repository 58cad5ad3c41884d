"""Reads facts from Stripe's objects, in old shapes and new: an endpoint keeps the version of the API that it was made with.

What cannot be read raises `Unreadable`: it is signed, so trying again would not help.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from activities.payments.facts import ENDED, Back, Fact, Intent, Invoice, InvoicePaid, Line, Sub
from activities.payments.plans import PlanBook
from models.repositories.stripe_events import Traces

Object = Mapping[str, Any]

#: How Stripe describes the payments of invoices, which newer objects do not say otherwise.
_OF_INVOICES = ("Subscription ", "Payment for Invoice")
#: Statuses of a subscription, the later the further on; events of one second are put in order by them.
_STATUSES = (*("incomplete", "trialing", "past_due", "active", "paused", "unpaid", "incomplete_expired", "canceled"),)
_KINDS = {"customer.subscription.created": "1", "customer.subscription.deleted": "3"}


class Unreadable(Exception):
    """The object lacks what it must have."""


def moment(seconds: Any) -> datetime | None:
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable("a time is out of range") from None


def id_of(value: Any) -> str | None:
    """An id, also of an object that was expanded."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and 0 < len(value) <= 255 else None


def _id(thing: Object) -> str:
    found = id_of(thing)
    if found is None:
        raise Unreadable("the object has no id")
    return found


def _cents(thing: Object, *names: str) -> int:
    for name in names:
        value = thing.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**13:
                raise Unreadable(f"{name} is no amount")
            return value
    raise Unreadable(f"there is no {names[0]}")


def _currency(thing: Object) -> str:
    value = thing.get("currency")
    if not isinstance(value, str):
        raise Unreadable("there is no currency")
    return value.lower()


def _mapping(value: Any) -> Object:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[Object]:
    rows = _mapping(value).get("data")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _traces(thing: Object, *metadata: Any, **ids: str | None) -> Traces:
    named = (_uuid(_mapping(each).get("tenant_id")) for each in (thing.get("metadata"), *metadata))
    tenant = next((found for found in named if found is not None), None)
    return Traces(tenant=tenant, customer=id_of(thing.get("customer")), **ids)


def intent(thing: Object, attempt: str = "", status: str | None = None) -> Intent:
    """`status` is what its event says, which says it alone in payloads that leave it out."""
    metadata = _mapping(thing.get("metadata"))
    status = status or str(thing.get("status"))
    error = _mapping(thing.get("last_payment_error"))
    order = _mapping(thing.get("payment_details")).get("order_reference")
    found = _id(thing)
    invoice = id_of(thing.get("invoice"))
    looks_so = (isinstance(order, str) and order.startswith("in_")) or str(thing.get("description") or "").startswith(
        _OF_INVOICES
    )
    amounts = ("amount_received", "amount") if status == "succeeded" else ("amount",)
    return Intent(
        id=found,
        status=status,
        amount=_cents(thing, *amounts),
        currency=_currency(thing),
        traces=_traces(thing, intent=found, invoice=invoice),
        payment_id=_uuid(metadata.get("payment_id")),
        automatic=metadata.get("purpose") == "auto_topup",
        # what only looks so, and says that it is ours, is no invoice's
        of_invoice=invoice is not None or (looks_so and _uuid(metadata.get("tenant_id")) is None),
        failure_code=(str(error.get("decline_code") or error.get("code") or "failed")[:100] if error else None),
        attempt=id_of(error.get("charge")) or id_of(thing.get("latest_charge")) or attempt,
    )


def invoice(thing: Object, plans: PlanBook, *, paid: bool, at: datetime) -> Invoice:
    parent = _mapping(_mapping(thing.get("parent")).get("subscription_details"))
    older = _mapping(thing.get("subscription_details"))
    subscription = id_of(parent.get("subscription")) or id_of(thing.get("subscription"))
    lines = _listed(thing.get("lines"))
    if subscription is None:
        subscription = next((found for line in lines if (found := _subscription_of(line))), None)
    payments = [_mapping(each.get("payment")) for each in _listed(thing.get("payments"))]
    paid_by = id_of(thing.get("payment_intent")) or next(
        (found for each in payments if (found := id_of(each.get("payment_intent")))), None
    )
    metadata = {**_mapping(older.get("metadata")), **_mapping(parent.get("metadata"))}
    found = _id(thing)
    amount = _cents(thing, "amount_paid") if paid else _cents(thing, "amount_due")
    attempts = thing.get("attempt_count")
    return Invoice(
        id=found,
        paid=paid,
        total=_cents(thing, "total", "amount_paid", "amount_due"),
        amount=amount,
        currency=_currency(thing),
        traces=_traces(
            thing,
            metadata,
            *(line.get("metadata") for line in lines),
            invoice=found,
            subscription=subscription,
            intent=paid_by,
        ),
        at=at,
        attempts=attempts if isinstance(attempts, int) else 0,
        lines=[_line(line, metadata, plans) for line in lines],
        intent=paid_by,
    )


def _subscription_of(line: Object) -> str | None:
    parent = _mapping(_mapping(line.get("parent")).get("subscription_item_details"))
    return id_of(parent.get("subscription")) or id_of(line.get("subscription"))


def _line(line: Object, metadata: Object, plans: PlanBook) -> Line:
    details = _mapping(_mapping(line.get("pricing")).get("price_details"))
    new = details.get("price")
    price = line.get("price") if isinstance(line.get("price"), Mapping) else line.get("plan")
    if isinstance(new, Mapping):
        price = new
    elif isinstance(new, str):
        unit = _mapping(line.get("pricing")).get("unit_amount_decimal")
        price = {"id": new, "unit_amount": int(unit) if isinstance(unit, str) and unit.isdigit() else None}
    parent = _mapping(_mapping(line.get("parent")).get("subscription_item_details"))
    end = _mapping(line.get("period")).get("end")
    merged = {**metadata, **_mapping(line.get("metadata"))}
    return Line(
        plan=plans.of_price(_mapping(price), merged),
        amount=_cents(line, "amount"),
        proration=bool(line.get("proration") or parent.get("proration")),
        period_end=end if isinstance(end, int) and not isinstance(end, bool) else None,
    )


def invoice_paid(thing: Object) -> InvoicePaid | None:
    """None for a payment that is of another kind."""
    paid_by, of = id_of(_mapping(thing.get("payment")).get("payment_intent")), id_of(thing.get("invoice"))
    if paid_by is None or of is None:
        return None
    return InvoicePaid(of, paid_by, _traces(thing, invoice=of, intent=paid_by))


def refund(thing: Object) -> Back | None:
    """None for the refund of a charge that has no payment intent."""
    state = "void" if thing.get("status") in ("failed", "canceled") else "open"
    return _back(thing, "refund", state, _cents(thing, "amount"))


def charge(thing: Object) -> Back | None:
    """What a charge says of all its refunds together."""
    return _back(thing, "charge", "open", _cents(thing, "amount_refunded"))


def dispute(thing: Object) -> Back | None:
    """An inquiry ("warning") takes no money until it becomes a dispute, and one that was won gives it back."""
    status = str(thing.get("status"))
    states = {"won": "void", "lost": "kept"}
    state = "asked" if status.startswith("warning_") else states.get(status, "open")
    return _back(thing, "dispute", state, _cents(thing, "amount"))


def _back(thing: Object, kind: str, state: str, amount: int) -> Back | None:
    of = id_of(thing.get("payment_intent"))
    if of is None:
        return None
    return Back(_id(thing), kind, of, amount, _currency(thing), state, _traces(thing, intent=of))


def subscription(thing: Object, plans: PlanBook, *, kind: str, event_id: str, at: int) -> Sub:
    items = _listed(thing.get("items"))
    priced = [(_mapping(item.get("price") or item.get("plan")), item) for item in items]
    metadata = _mapping(thing.get("metadata"))
    known = [(plan, price) for price, _ in priced if (plan := plans.of_price(price, metadata)) is not None]
    if not known and (plan := plans.of_price({}, metadata)) is not None:
        known = [(plan, {})]
    ends = [
        end
        for source in (thing, *(item for _, item in priced))
        if isinstance(end := source.get("current_period_end"), int)
    ]
    starts = [
        start
        for source in (thing, *(item for _, item in priced))
        if isinstance(start := source.get("current_period_start"), int)
    ]
    status = "canceled" if kind == "customer.subscription.deleted" else str(thing.get("status"))
    if status not in _STATUSES:
        raise Unreadable(f"{status!r} is no status of a subscription")
    found, end = _id(thing), max(ends, default=0)
    # what has ended stays ended; else the later event counts, and of two in one second the one that is further on
    order = (
        "9" if status in ENDED else "1",
        f"{at:012d}",
        _KINDS.get(kind, "2"),
        f"{end:012d}",
        str(_STATUSES.index(status)),
        event_id,
    )
    told = moment(at)
    if told is None:
        raise Unreadable("there is no time")
    return Sub(
        id=found,
        status=status,
        plan=known[0][0] if known else None,
        price_id=id_of(known[0][1]) if known else id_of(priced[0][0]) if priced else None,
        cancel_at_period_end=bool(thing.get("cancel_at_period_end")) or _ends_by(thing.get("cancel_at"), end),
        period_start=moment(max(starts, default=None)),
        period_end=moment(end or None),
        canceled_at=moment(thing.get("canceled_at")),
        schedule=id_of(thing.get("schedule")),
        at=told,
        revision=".".join(order)[:400],
        traces=_traces(thing, subscription=found),
    )


def _ends_by(cancel_at: Any, end: int) -> bool:
    """Stripe's portal may write down the time at which a subscription ends, and not that it ends with the period."""
    return isinstance(cancel_at, int) and not isinstance(cancel_at, bool) and 0 < cancel_at <= end


def checkout(thing: Object, plans: PlanBook, at: int) -> Fact | None:
    """What a checkout that is complete says before its subscription or its payment does; None if nothing was paid yet."""
    metadata = _mapping(thing.get("metadata"))
    claimed = {"metadata": {"tenant_id": metadata.get("tenant_id") or thing.get("client_reference_id")}}
    whose = {"customer": thing.get("customer"), **claimed}
    if thing.get("payment_status") not in ("paid", "no_payment_required"):
        return None
    if thing.get("mode") == "subscription" and (found := id_of(thing.get("subscription"))):
        told = moment(at)
        if told is None:
            raise Unreadable("there is no time")
        return Sub(
            id=found,
            status="active",
            plan=plans.of_price({}, metadata),
            price_id=None,
            cancel_at_period_end=False,
            period_start=None,
            period_end=None,
            canceled_at=None,
            schedule=None,
            at=told,
            # anything that is said of the subscription itself counts more
            revision=f"0.{at:012d}",
            traces=_traces(whose, subscription=found),
        )
    if thing.get("mode") == "payment" and (found := id_of(thing.get("payment_intent"))):
        return Intent(found, "succeeded", _cents(thing, "amount_total"), _currency(thing), _traces(whose, intent=found))
    return None


def traces_of(event: Object) -> Traces:
    """Whose an event is, as far as its object says, whatever it is about."""
    thing = _mapping(_mapping(event.get("data")).get("object"))
    return _traces({**thing, "customer": thing.get("id")} if thing.get("object") == "customer" else thing)


def read(event: Object, plans: PlanBook) -> Fact | None:
    """The fact that an event tells; None for one that has nothing to say here."""
    data = _mapping(event.get("data")).get("object")
    kind, at = str(event.get("type")), event.get("created")
    if kind not in HANDLED:
        return None
    if event.get("account"):
        raise Unreadable("it is of a connected account, whose money is not ours")
    if not isinstance(data, Mapping):
        raise Unreadable("there is no data.object")
    if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < 10**12:
        raise Unreadable("created is no time")
    event_id = _id(event)
    if kind.startswith("payment_intent."):
        return intent(data, event_id, "succeeded" if kind == "payment_intent.succeeded" else None)
    if kind.startswith("customer.subscription."):
        return subscription(data, plans, kind=kind, event_id=event_id, at=at)
    if kind.startswith("invoice."):
        told = moment(at)
        if told is None:
            raise Unreadable("created is no time")
        return invoice(data, plans, paid=kind != "invoice.payment_failed", at=told)
    if kind == "invoice_payment.paid":
        return invoice_paid(data)
    if kind.startswith("checkout.session."):
        return checkout(data, plans, at)
    if kind.startswith("charge.dispute."):
        return dispute(data)
    if kind == "charge.refunded":
        return charge(data)
    return refund(data)


#: The events that say something here. Stripe can be told to send these alone.
HANDLED = frozenset(
    {
        *("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled"),
        *("payment_intent.processing", "payment_intent.requires_action"),
        *("checkout.session.completed", "checkout.session.async_payment_succeeded"),
        *("customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted"),
        *("customer.subscription.paused", "customer.subscription.resumed"),
        *("invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed", "invoice_payment.paid"),
        *("charge.refunded", "refund.created", "refund.updated", "refund.failed", "charge.refund.updated"),
        *("charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"),
        *("charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"),
    }
)
