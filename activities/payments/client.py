"""What Stripe is asked, through its own library: the one module that knows its client.

Answers come as plain objects, as in its documentation. Errors are ours: `PaymentDeclined` for a card, `IdempotencyConflict`,
`PaymentServiceFailed` for what Stripe refuses, `PaymentServiceUnavailable` where trying again is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any

import stripe
from stripe import StripeObject

from omium_core.errors import IdempotencyConflict, OmiumError
from omium_core.payment_errors import (
    BillingNotConfigured,
    PaymentDeclined,
    PaymentServiceFailed,
    PaymentServiceUnavailable,
)
from omium_core.settings import Settings

Object = dict[str, Any]
#: Tries beyond the first, with pauses of half a second and more between them.
_RETRIES = 2


def open_stripe(settings: Settings) -> StripeApi | None:
    """The client that the settings describe; None without a key."""
    key = settings.stripe_secret_key
    if key is None or not key.get_secret_value():
        return None
    return StripeApi(key.get_secret_value(), settings.stripe_api_url, settings.stripe_timeout)


def needed(api: StripeApi | None) -> StripeApi:
    """Raises `BillingNotConfigured` where there is none."""
    if api is None:
        raise BillingNotConfigured("This installation takes no payments: it has no key of Stripe.")
    return api


class StripeApi:
    """Belongs to one event loop. Each method is one request, but for the lists, which take `page` rows at a time."""

    page = 100

    def __init__(self, key: str, base: str, timeout: float) -> None:
        stripe.enable_telemetry = False
        self._http = stripe.HTTPXClient(timeout=timeout)
        client = stripe.StripeClient(
            key, base_addresses={"api": base.rstrip("/")}, http_client=self._http, max_network_retries=_RETRIES
        )
        self._v1 = client.v1

    async def close(self) -> None:
        closing: Any = self._http
        await closing.close_async()

    async def create_customer(self, params: Mapping[str, Any], key: str) -> Object:
        return await _ask(self._v1.customers.create_async(_params(params), {"idempotency_key": key}))

    async def update_customer(self, customer: str, params: Mapping[str, Any]) -> Object:
        return await _ask(self._v1.customers.update_async(customer, _params(params)))

    async def create_tax_id(self, customer: str, kind: str, value: str) -> Object:
        """The same again, for a day, adds nothing."""
        key = f"omium-tax-id-{customer}-{hashlib.sha256(f'{kind} {value}'.encode()).hexdigest()[:16]}"
        params: Any = {"type": kind, "value": value}
        return await _ask(self._v1.customers.tax_ids.create_async(customer, params, {"idempotency_key": key}))

    async def customer(self, customer: str) -> Object:
        return await _ask(self._v1.customers.retrieve_async(customer))

    async def delete_customer(self, customer: str) -> Object:
        """For good; Stripe ends its subscriptions at once, and keeps its payments and invoices."""
        return await _ask(self._v1.customers.delete_async(customer))

    async def payment_methods(self, customer: str) -> list[Object]:
        """The cards of a customer, the newest first."""
        found = await _ask(self._v1.customers.payment_methods.list_async(customer, {"limit": 10}))
        return list(found["data"])

    async def create_intent(self, params: Mapping[str, Any], key: str) -> Object:
        return await _ask(self._v1.payment_intents.create_async(_params(params), {"idempotency_key": key}))

    async def intent(self, intent: str) -> Object:
        return await _ask(self._v1.payment_intents.retrieve_async(intent))

    async def create_checkout(self, params: Mapping[str, Any], key: str | None) -> Object:
        return await _ask(self._v1.checkout.sessions.create_async(_params(params), _options(key)))

    async def create_portal(self, customer: str, return_url: str) -> Object:
        return await _ask(
            self._v1.billing_portal.sessions.create_async({"customer": customer, "return_url": return_url})
        )

    async def subscription(self, subscription: str) -> Object:
        return await _ask(self._v1.subscriptions.retrieve_async(subscription))

    async def update_subscription(self, subscription: str, params: Mapping[str, Any], key: str | None = None) -> Object:
        return await _ask(self._v1.subscriptions.update_async(subscription, _params(params), _options(key)))

    async def cancel_subscription(self, subscription: str) -> Object:
        """At once."""
        return await _ask(self._v1.subscriptions.cancel_async(subscription))

    async def create_schedule(self, subscription: str) -> Object:
        return await _ask(self._v1.subscription_schedules.create_async({"from_subscription": subscription}))

    async def schedule(self, schedule: str) -> Object:
        return await _ask(self._v1.subscription_schedules.retrieve_async(schedule))

    async def update_schedule(self, schedule: str, phases: Sequence[Mapping[str, Any]]) -> Object:
        params: Any = {"end_behavior": "release", "proration_behavior": "none", "phases": list(phases)}
        return await _ask(self._v1.subscription_schedules.update_async(schedule, params))

    async def release_schedule(self, schedule: str) -> Object:
        """The subscription goes on as it is now."""
        return await _ask(self._v1.subscription_schedules.release_async(schedule))

    async def invoices(self, customer: str, limit: int, after: str | None) -> tuple[list[Object], bool]:
        """A page of a customer's invoices, the newest first, and whether there are more."""
        params: dict[str, Any] = {"customer": customer, "limit": limit}
        if after is not None:
            params["starting_after"] = after
        found = await _ask(self._v1.invoices.list_async(_params(params)))
        return list(found["data"]), bool(found["has_more"])

    def events(self, since: datetime, types: Sequence[str]) -> AsyncIterator[Object]:
        """Events since a time (Stripe keeps them for 30 days), the newest first. Stripe takes 20 types at a time."""
        return self._all(self._v1.events, {"created": {"gte": int(since.timestamp())}, "types": list(types)})

    def intents(self, since: datetime) -> AsyncIterator[Object]:
        return self._all(self._v1.payment_intents, {"created": {"gte": int(since.timestamp())}})

    def refunds(self, since: datetime) -> AsyncIterator[Object]:
        return self._all(self._v1.refunds, {"created": {"gte": int(since.timestamp())}})

    def subscriptions(self) -> AsyncIterator[Object]:
        return self._all(self._v1.subscriptions, {"status": "all"})

    async def _all(self, service: Any, params: Mapping[str, Any]) -> AsyncIterator[Object]:
        after: dict[str, str] = {}
        while True:
            page = await _ask(service.list_async({**params, "limit": self.page, **after}))
            for row in page["data"]:
                yield row
            if not page["has_more"] or not page["data"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}


def _params(given: Mapping[str, Any]) -> Any:
    """What a request says. The library's own types spell out each of its hundreds of fields."""
    return dict(given)


def _options(key: str | None) -> Any:
    return None if key is None else {"idempotency_key": key}


async def _ask(request: Awaitable[StripeObject]) -> Object:
    try:
        answer = await request
    except stripe.StripeError as error:
        raise _ours(error) from error
    return answer.to_dict(for_json=True)


def _ours(error: stripe.StripeError) -> OmiumError:
    """An error of Stripe's as the caller hears of it: without what only operators can act on."""
    if isinstance(error, stripe.CardError):
        told = error.error
        return PaymentDeclined(
            error.user_message or "The card was declined.",
            reason=error.code,
            decline_code=getattr(told, "decline_code", None) or error.code,
            payment_intent_id=_intent_of(told),
        )
    if isinstance(error, stripe.IdempotencyError):
        return IdempotencyConflict("This Idempotency-Key was used for another request.")
    if isinstance(error, (stripe.APIConnectionError, stripe.RateLimitError)):
        return PaymentServiceUnavailable("Stripe does not answer now; try again in a moment.")
    if (error.http_status or 500) >= 500 or error.http_status == 409:
        return PaymentServiceUnavailable("Stripe does not answer as it should now; try again in a moment.")
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        return PaymentServiceFailed("Stripe does not accept this installation's key.", reason="authentication")
    return PaymentServiceFailed(
        f"Stripe refused this: {error.user_message or 'no reason was given'}",
        reason=error.code,
        field=getattr(error, "param", None),
    )


def _intent_of(told: Any) -> str | None:
    found = getattr(told, "payment_intent", None)
    return getattr(found, "id", None)
