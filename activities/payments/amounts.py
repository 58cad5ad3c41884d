"""Amounts of money as people send them, and as Stripe takes them: in cents."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from activities.payments.plans import LEAST_CENTS, MOST_CENTS
from omium_core.payment_errors import InvalidAmount

_LONGEST = 30


def cents_of(value: Any, path: str = "amount_usd") -> int:
    """US dollars -> cents: from a number, or a text that is one. Raises `InvalidAmount`, never rounds."""
    if value is None:
        raise InvalidAmount(path, "an amount in US dollars is needed.")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidAmount(path, "must be a number of US dollars.")
    text = str(value)
    try:
        # a float as it was written: 100.1 is that, and not what the machine makes of it
        amount = Decimal(text) if len(text) <= _LONGEST and text.isascii() and "_" not in text else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite():
        raise InvalidAmount(path, "must be a number of US dollars.")
    if amount < 0:
        raise InvalidAmount(path, "must not be negative.")
    if amount.adjusted() > 12:
        raise InvalidAmount(path, f"must be at most {MOST_CENTS / 100:.2f}.")
    cents = amount * 100
    if cents != cents.to_integral_value():
        raise InvalidAmount(path, "must have at most two decimals.")
    if cents < LEAST_CENTS:
        raise InvalidAmount(path, f"must be at least {LEAST_CENTS / 100:.2f}.")
    if cents > MOST_CENTS:
        raise InvalidAmount(path, f"must be at most {MOST_CENTS / 100:.2f}.")
    return int(cents)
