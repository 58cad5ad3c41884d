"""Whether what claims to come from Stripe does: signed with a secret of ours, and now."""

from __future__ import annotations

import re
import time

import stripe

from omium_core.payment_errors import InvalidSignature
from omium_core.settings import Settings

_TIME = re.compile(r"t=([0-9]{1,12})")


def secrets_of(settings: Settings) -> list[str]:
    """The secrets that sign now: several while one is replaced."""
    given = settings.stripe_webhook_secret
    return [] if given is None else [part.strip() for part in given.get_secret_value().split(",") if part.strip()]


def verify(body: bytes, header: str | None, secrets: list[str], tolerance: float) -> None:
    """Raises `InvalidSignature` unless one of the signatures is right, and its time is near ours, before or after."""
    if not header:
        raise InvalidSignature("The header Stripe-Signature is missing.")
    # the library fails at letters that no signature has
    if not header.isascii():
        raise InvalidSignature("The header Stripe-Signature is none of Stripe's.")
    times = [found[1] for part in header.split(",") if (found := _TIME.fullmatch(part.strip()))]
    if len(times) != 1:
        raise InvalidSignature("The header Stripe-Signature names no time, or more than one.")
    # the library takes any time that lies ahead
    if abs(time.time() - int(times[0])) > tolerance:
        raise InvalidSignature("The signature is too old, or from the future.")
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(body, header, secret, int(tolerance))
        except (stripe.SignatureVerificationError, UnicodeError):
            continue
        return
    raise InvalidSignature("No signature is the one of this body.")
