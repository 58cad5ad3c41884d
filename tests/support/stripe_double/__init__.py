"""Stripe's API in a test: what its documentation says of the objects, errors and webhooks that the platform works with.

Nothing of ours is in it, so that the real library stands in front of it and cannot tell the difference.
"""

from tests.support.stripe_double.server import StripeDouble, StripeServer

__all__ = ["StripeDouble", "StripeServer"]
