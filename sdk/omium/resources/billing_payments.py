"""The part of `client.billing` that Stripe is behind: top-ups, subscriptions, invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omium.calls import ClientT, Request, Resource, fresh_key, operation
from omium.types import AutoTopUp, Checkout, InvoicePage, Plans, Portal, Subscription, TopUp

_SUBSCRIPTION = "billing/subscription"
_RULE = "billing/auto-topup"


class BillingPayments(Resource[ClientT]):
    """Amounts are in US dollars. Without keys of Stripe, the API answers `BILLING_NOT_CONFIGURED`."""

    @operation
    def topup(
        self,
        amount_usd: float | str,
        save_card: bool | None = None,
        billing_address: Mapping[str, str] | None = None,
        tax_ids: Sequence[Mapping[str, str]] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[TopUp]:
        """Begins a payment, which a page confirms with `client_secret`. The credits come when it is paid.

        Args:
            amount_usd: at least 10; a dollar is 100 credits.
            save_card: whether the card is kept for automatic top-ups, as it is unless told otherwise.
        """
        return _topup(amount_usd, save_card, billing_address, tax_ids, idempotency_key)

    @operation
    def create_payment_intent(
        self,
        amount_usd: float | str,
        save_card: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Request[TopUp]:
        """The same as `topup`."""
        return _topup(amount_usd, save_card, None, None, idempotency_key)

    @operation
    def plans(self) -> Request[Plans]:
        """What there is to subscribe to. Answers without Stripe, too."""
        return Request("GET", "billing/plans")

    get_plans = plans

    @operation
    def get_subscription(self) -> Request[Subscription]:
        """The plan that the tenant has, and how it stands."""
        return Request("GET", _SUBSCRIPTION)

    @operation
    def subscription(self) -> Request[Subscription]:
        """The same as `get_subscription`."""
        return Request("GET", _SUBSCRIPTION)

    @operation
    def subscribe(
        self,
        plan: str,
        success_url: str | None = None,
        cancel_url: str | None = None,
        billing_address: Mapping[str, str] | None = None,
        tax_ids: Sequence[Mapping[str, str]] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[Checkout]:
        """Begins a subscription, which is paid at `checkout_url`.

        Args:
            plan: `developer`, `pro` or `enterprise`.
            success_url: where Stripe's page leads when it is paid.
        """
        body = {
            "plan": plan,
            "success_url": success_url,
            "cancel_url": cancel_url,
            "billing_address": billing_address,
            "tax_ids": tax_ids,
        }
        return Request("POST", _SUBSCRIPTION, body=body, idempotency_key=fresh_key(idempotency_key))

    @operation
    def change_plan(self, plan: str, idempotency_key: str | None = None) -> Request[Subscription]:
        """To a dearer plan at once, to a cheaper one with the next period; to the present one, takes that back."""
        return Request("PUT", _SUBSCRIPTION, body={"plan": plan}, idempotency_key=fresh_key(idempotency_key))

    @operation
    def cancel_subscription(self, immediately: bool | None = None) -> Request[Subscription]:
        """Ends the subscription with the period that was paid, or at once."""
        return Request("DELETE", _SUBSCRIPTION, query={"immediately": immediately})

    @operation
    def resume_subscription(self) -> Request[Subscription]:
        """Takes back that the subscription ends with the period."""
        return Request("PUT", _SUBSCRIPTION, body={"cancel_at_period_end": False})

    @operation
    def portal(self, return_url: str | None = None) -> Request[Portal]:
        """A page of Stripe's, where people change cards, addresses and plans themselves."""
        return Request("POST", "billing/portal", body={"return_url": return_url})

    @operation
    def invoices(self, limit: int | None = None, cursor: str | None = None) -> Request[InvoicePage]:
        """One page of invoices, the newest first."""
        return Request("GET", "billing/invoices", query={"limit": limit, "cursor": cursor})

    get_invoices = invoices

    @operation
    def auto_topup(self) -> Request[AutoTopUp]:
        """The rule by which the balance is filled up by itself."""
        return Request("GET", _RULE)

    @operation
    def set_auto_topup(
        self,
        threshold_credits: int,
        amount_usd: float | str,
        max_per_month: int | None = None,
        enabled: bool = True,
    ) -> Request[AutoTopUp]:
        """Pays `amount_usd` with the card on file each time that the balance falls below the threshold.

        A rule that was paused by a declined card begins again.
        """
        body = {
            "threshold_credits": threshold_credits,
            "amount_usd": amount_usd,
            "max_per_month": max_per_month,
            "enabled": enabled,
        }
        return Request("PUT", _RULE, body=body)


def _topup(
    amount_usd: float | str,
    save_card: bool | None,
    billing_address: Mapping[str, str] | None,
    tax_ids: Sequence[Mapping[str, str]] | None,
    key: str | None,
) -> Request[TopUp]:
    body = {
        "amount_usd": amount_usd,
        "save_card": save_card,
        "billing_address": billing_address,
        "tax_ids": tax_ids,
    }
    return Request("POST", "billing/topup", body=body, idempotency_key=fresh_key(key))
