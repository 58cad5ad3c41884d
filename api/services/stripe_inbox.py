"""Takes what Stripe tells: verified, stored once, answered; a workflow does the rest."""

from __future__ import annotations

import json
from typing import Any

from activities.payments.signatures import secrets_of, verify
from api.schemas.common import json_problems
from api.wiring import Wiring
from models.repositories import stripe_events
from omium_core.errors import MalformedRequest
from omium_core.payment_errors import BillingNotConfigured

#: Lengths of the columns.
_LONGEST_ID, _LONGEST_TYPE = 255, 100


class StripeInboxService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def receive(self, body: bytes, signature: str | None) -> bool:
        """Raises `InvalidSignature`, `MalformedRequest`, and `BillingNotConfigured` where there is no secret."""
        settings = self._process.settings
        secrets = secrets_of(settings)
        if not secrets:
            raise BillingNotConfigured("This installation has no secret for what Stripe tells.")
        verify(body, signature, secrets, settings.stripe_signature_tolerance)
        event = _event(body)
        async with self._process.database.system() as session:
            await stripe_events.keep(session, event)
        # also one that was here before: its workflow may never have begun
        self._process.events.soon(event["id"])
        return True


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is no JSON.") from None
    if not isinstance(event, dict):
        raise MalformedRequest("The body is no event.")
    for name, longest in (("id", _LONGEST_ID), ("type", _LONGEST_TYPE)):
        value = event.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise MalformedRequest(f"The body is no event: {name} must be a text of up to {longest} characters.")
    if problems := json_problems(event, ""):
        raise MalformedRequest(f"The body cannot be kept: {problems[0].path.lstrip('.')} {problems[0].message}.")
    return event
