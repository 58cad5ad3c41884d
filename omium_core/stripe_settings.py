"""The settings of Stripe and of the plans: a part of `omium_core.settings.Settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


Tier = Literal["starter", "professional", "enterprise"]
TierLimit = Literal["max_concurrent_executions", "max_checkpoints_per_month", "max_api_calls_per_month"]


class StripeSettings(BaseSettings):
    """Without a key and a secret, credits come from operators alone."""

    stripe_secret_key: SecretStr | None = None
    #: Signs what Stripe tells; several, separated by commas, while one is replaced.
    stripe_webhook_secret: SecretStr | None = None
    #: Given to pages in browsers, which confirm payments with it.
    stripe_publishable_key: str | None = None
    stripe_price_id_developer: str | None = None
    stripe_price_id_pro: str | None = None
    stripe_price_id_enterprise: str | None = None
    #: Where Stripe answers.
    stripe_api_url: str = "https://api.stripe.com"
    stripe_timeout: Seconds = 30.0
    #: Seconds that the time of a signature may be before or after ours.
    stripe_signature_tolerance: Seconds = 300.0
    #: Whether Stripe works out taxes for subscriptions.
    stripe_automatic_tax: bool = False
    #: Credits of each month that is paid; of Enterprise, without a number, as many as cents were paid.
    plan_credits_developer: Count = 3_900
    plan_credits_pro: Count = 29_900
    plan_credits_enterprise: Count | None = None
    #: Days for which credits of a plan last beyond the month that was paid.
    plan_grace_days: Annotated[int, Field(ge=0, le=365)] = 3
    #: What a tier allows, where it is not as in `activities.payments.plans`; a change of plan brings it.
    tier_limits: dict[Tier, dict[TierLimit, Count]] = Field(default_factory=dict)
