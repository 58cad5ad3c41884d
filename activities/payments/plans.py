"""The plans that tenants can subscribe to, and how they are known in what Stripe tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omium_core.credits import MICRO
from omium_core.settings import Settings
from omium_core.stripe_settings import Tier, TierLimit

#: The least and the most that is paid at once, in cents: the minimum of a top-up, and Stripe's own limit.
LEAST_CENTS, MOST_CENTS = 1_000, 99_999_999
#: A credit is a cent.
MICRO_PER_CENT = MICRO
CURRENCY = "usd"


@dataclass(frozen=True)
class Plan:
    """`price_cents` is for a month; None where it is agreed on with each customer."""

    name: str
    title: str
    price_cents: int | None
    tier: Tier
    description: str


PLANS = {
    plan.name: plan
    for plan in (
        Plan("developer", "Developer", 3_900, "starter", "For one developer and first agents in production."),
        Plan("pro", "Pro", 29_900, "professional", "For teams: more turns where several wait for the same workers."),
        Plan("enterprise", "Enterprise", None, "enterprise", "By agreement."),
    )
}
RANKS = {name: rank for rank, name in enumerate(PLANS, 1)}
#: The tier of who has no plan.
NO_PLAN_TIER: Tier = "starter"
#: Columns of `tenants` that a change of plan sets, for each tier. A tenant begins with those of the first.
TIER_LIMITS: Mapping[Tier, Mapping[TierLimit, int]] = {
    "starter": {
        "max_concurrent_executions": 10,
        "max_checkpoints_per_month": 50_000,
        "max_api_calls_per_month": 100_000,
    },
    "professional": {
        "max_concurrent_executions": 50,
        "max_checkpoints_per_month": 500_000,
        "max_api_calls_per_month": 1_000_000,
    },
    "enterprise": {
        "max_concurrent_executions": 500,
        "max_checkpoints_per_month": 5_000_000,
        "max_api_calls_per_month": 10_000_000,
    },
}


class PlanBook:
    """The plans with the prices and credits that the settings give them."""

    def __init__(self, settings: Settings) -> None:
        self._prices: dict[str, str | None] = {
            # an empty setting is none
            "developer": settings.stripe_price_id_developer or None,
            "pro": settings.stripe_price_id_pro or None,
            "enterprise": settings.stripe_price_id_enterprise or None,
        }
        self._credits: dict[str, int | None] = {
            "developer": settings.plan_credits_developer,
            "pro": settings.plan_credits_pro,
            "enterprise": settings.plan_credits_enterprise,
        }
        self._limits: dict[Tier, dict[TierLimit, int]] = {
            tier: {**limits, **settings.tier_limits.get(tier, {})} for tier, limits in TIER_LIMITS.items()
        }
        self._of_price = {price: name for name, price in self._prices.items() if price is not None}

    def price_id(self, plan: str) -> str | None:
        return self._prices[plan]

    def credits(self, plan: str) -> int | None:
        """Millionths of a credit for a month; None where they follow from what was paid."""
        credits = self._credits[plan]
        return None if credits is None else credits * MICRO

    def limits(self, tier: Tier) -> Mapping[TierLimit, int]:
        """What a tenant of the tier may use."""
        return self._limits[tier]

    def is_of_a_tier(self, name: TierLimit, number: int) -> bool:
        """Whether a tenant has its number from a tier; any other was set by hand."""
        return any(number == limits[name] for book in (TIER_LIMITS, self._limits) for limits in book.values())

    def of_price(self, price: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
        """The plan of a price of Stripe's: by its id; where no id is set for a plan, by what it costs; as we named it ourselves."""
        found = self._of_price.get(str(price.get("id")))
        if found is not None:
            return found
        for given in (price.get("lookup_key"), (price.get("metadata") or {}).get("plan"), metadata.get("plan")):
            if given in PLANS:
                return str(given)
        for plan in PLANS.values():
            if (
                self._prices[plan.name] is None
                and plan.price_cents is not None
                and price.get("unit_amount") == plan.price_cents
            ):
                return plan.name
        return None

    def worth(self, plan: str | None, cents: int, *, whole: bool) -> int:
        """What a line of an invoice grants: a whole month of the plan, or the part of it that its amount pays for."""
        credits = None if plan is None else self.credits(plan)
        if plan is None or credits is None:
            return cents * MICRO_PER_CENT
        if whole:
            return credits
        price = PLANS[plan].price_cents
        return cents * MICRO_PER_CENT if price is None else cents * credits // price
