"""Objects in the shapes of Stripe's published description (version 2025-03-31 and later), with the fields that say something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]
MONTH = 30 * 86_400


def customer(found: str, at: int, given: Mapping[str, Any]) -> Object:
    return {
        "id": found,
        "object": "customer",
        "created": at,
        "livemode": False,
        "name": given.get("name"),
        "email": given.get("email"),
        "address": given.get("address"),
        "metadata": dict(given.get("metadata") or {}),
        "invoice_settings": {"default_payment_method": None},
    }


def intent(found: str, at: int, given: Mapping[str, Any]) -> Object:
    return {
        "id": found,
        "object": "payment_intent",
        "created": at,
        "livemode": False,
        "amount": int(given["amount"]),
        "amount_received": 0,
        "amount_capturable": 0,
        "currency": given["currency"],
        "customer": given.get("customer"),
        "client_secret": f"{found}_secret_double",
        "description": given.get("description"),
        "latest_charge": None,
        "last_payment_error": None,
        "metadata": dict(given.get("metadata") or {}),
        "payment_method": given.get("payment_method"),
        "setup_future_usage": given.get("setup_future_usage"),
        "status": "requires_payment_method",
    }


def charge(found: str, at: int, of: Object) -> Object:
    return {
        "id": found,
        "object": "charge",
        "created": at,
        "livemode": False,
        "amount": of["amount"],
        "amount_captured": of["amount"],
        "amount_refunded": 0,
        "currency": of["currency"],
        "customer": of["customer"],
        "disputed": False,
        "metadata": dict(of["metadata"]),
        "paid": True,
        "payment_intent": of["id"],
        "refunded": False,
        "status": "succeeded",
    }


def refund(found: str, at: int, of: Object, amount: int) -> Object:
    return {
        "id": found,
        "object": "refund",
        "created": at,
        "amount": amount,
        "currency": of["currency"],
        "charge": of["id"],
        "payment_intent": of["payment_intent"],
        "metadata": {},
        "status": "succeeded",
    }


def dispute(found: str, at: int, of: Object, amount: int) -> Object:
    return {
        "id": found,
        "object": "dispute",
        "created": at,
        "livemode": False,
        "amount": amount,
        "currency": of["currency"],
        "charge": of["id"],
        "payment_intent": of["payment_intent"],
        "metadata": {},
        "reason": "fraudulent",
        "status": "needs_response",
    }


def price(found: str, amount: int, *, currency: str = "usd") -> Object:
    return {
        "id": found,
        "object": "price",
        "active": True,
        "currency": currency,
        "lookup_key": None,
        "metadata": {},
        "recurring": {"interval": "month", "interval_count": 1},
        "unit_amount": amount,
    }


def item(found: str, at: int, of: str, priced: Object, end: int) -> Object:
    return {
        "id": found,
        "object": "subscription_item",
        "created": at,
        "current_period_start": at,
        "current_period_end": end,
        "price": priced,
        "quantity": 1,
        "subscription": of,
    }


def subscription(found: str, at: int, of: str, items: Sequence[Object], metadata: Mapping[str, str]) -> Object:
    return {
        "id": found,
        "object": "subscription",
        "created": at,
        "livemode": False,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "currency": "usd",
        "customer": of,
        "items": listed(items, f"/v1/subscription_items?subscription={found}"),
        "latest_invoice": None,
        "metadata": dict(metadata),
        "schedule": None,
        "status": "incomplete",
    }


def line(
    found: str, of: Object, amount: int, start: int, end: int, priced: Object, *, proration: bool = False
) -> Object:
    return {
        "id": found,
        "object": "line_item",
        "amount": amount,
        "currency": "usd",
        "metadata": dict(of["metadata"]),
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {"subscription": of["id"], "proration": proration},
        },
        "period": {"start": start, "end": end},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": priced["id"]},
            "unit_amount_decimal": str(priced["unit_amount"]),
        },
        "quantity": 1,
    }


def invoice(found: str, at: int, of: Object, reason: str, lines: Sequence[Object]) -> Object:
    total = sum(each["amount"] for each in lines)
    return {
        "id": found,
        "object": "invoice",
        "created": at,
        "livemode": False,
        "amount_due": total,
        "amount_paid": 0,
        "amount_remaining": total,
        "attempt_count": 0,
        "billing_reason": reason,
        "currency": "usd",
        "customer": of["customer"],
        "hosted_invoice_url": f"https://invoice.stripe.com/i/{found}",
        "invoice_pdf": f"https://pay.stripe.com/invoice/{found}/pdf",
        "lines": listed(lines, f"/v1/invoices/{found}/lines"),
        "metadata": {},
        "number": found.upper(),
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": of["id"], "metadata": dict(of["metadata"])},
        },
        "period_start": at,
        "period_end": at,
        "status": "open",
        "subtotal": total,
        "total": total,
        "total_taxes": [],
    }


def listed(rows: Sequence[Object], url: str, *, more: bool = False) -> Object:
    return {"object": "list", "data": list(rows), "has_more": more, "url": url}


def event(found: str, kind: str, at: int, thing: Object, previous: Mapping[str, Any] | None = None) -> Object:
    data: Object = {"object": thing}
    if previous is not None:
        data["previous_attributes"] = dict(previous)
    return {
        "id": found,
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": at,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
