"""Errors about payments, in the family of `omium_core.errors`: amounts, signatures, cards, subscriptions, Stripe itself."""

from __future__ import annotations

from omium_core.errors import Conflict, ExternalServiceFailed, NotFound, OmiumError, Unavailable


class InvalidAmount(OmiumError):
    """An amount of money that cannot be paid: no number, too small, too large, parts of a cent."""

    code = "INVALID_AMOUNT"
    status = 400

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}", errors=[{"path": path, "message": message}])


class InvalidSignature(OmiumError):
    """What claims to come from Stripe is not signed with its secret, or was not signed now."""

    code = "INVALID_SIGNATURE"
    status = 400


class PaymentDeclined(OmiumError):
    """The card was not charged; `decline_code` in the details says why, as far as its bank does."""

    code = "PAYMENT_DECLINED"
    status = 402


class SubscriptionNotFound(NotFound):
    """The tenant has no subscription that could be changed."""

    code = "SUBSCRIPTION_NOT_FOUND"


class AlreadySubscribed(Conflict):
    """There is a subscription: change it, rather than begin another."""

    code = "ALREADY_SUBSCRIBED"


class PaymentServiceFailed(ExternalServiceFailed):
    """Stripe refused what it was asked; `reason` in the details is its code."""

    code = "PAYMENT_SERVICE_FAILED"


class BillingNotConfigured(OmiumError):
    """This installation has no keys of Stripe, or no price for the plan; operators grant credits by hand."""

    code = "BILLING_NOT_CONFIGURED"
    status = 503


class PaymentServiceUnavailable(Unavailable):
    """Stripe does not answer now, or wants fewer requests."""

    code = "PAYMENT_SERVICE_UNAVAILABLE"
