"""Credits: the balance, movements, usage, prices, what runs did cost. Amounts are in credits; one is a US cent."""

from __future__ import annotations

from typing import Literal, TypedDict

from omium.types.base import JsonObject, Page


class CreditGrant(TypedDict, total=False):
    """A lot of credits. Those with the lower priority burn first, then those that expire first."""

    id: str
    source: str
    priority: int
    amount: float
    remaining: float
    expires_at: str | None
    created_at: str


class Balance(TypedDict, total=False):
    """What the tenant has: `available`, and `held` for calls under way."""

    balance: float
    balance_usd: float
    last_topup_at: str | None
    available: float
    held: float
    spent: float
    unpaid: float
    enforced: bool
    low_credits: float
    is_low: bool
    parked_runs: int
    grants: list[CreditGrant]


class Transaction(TypedDict, total=False):
    """A movement of credits."""

    id: str
    tenant_id: str
    user_id: str | None
    type: Literal["usage", "topup", "subscription", "gift", "manual", "refund", "dispute", "expiry", "adjustment"]
    amount: float
    credits_before: float
    credits_after: float
    stripe_payment_intent_id: str | None
    stripe_customer_id: str | None
    payment_method: str | None
    payment_status: str | None
    reference: str | None
    execution_id: str | None
    description: str | None
    metadata: JsonObject
    created_at: str
    completed_at: str | None


class TransactionPage(Page, total=False):
    transactions: list[Transaction]


class Amounts(TypedDict, total=False):
    """What was spent. Cached tokens are among the input."""

    credits: float
    calls: int
    tokens: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class UsageGroup(Amounts, total=False):
    """What was spent on one thing; `key` is None for what has none."""

    key: str | None
    name: str | None
    unpaid: float


class Usage(Amounts, total=False):
    """What was spent in a time, in all and by group."""

    period: str | None
    start_date: str | None
    end_date: str
    group_by: str
    unpaid: float
    usage: list[UsageGroup]
    total: int
    limit: int
    offset: int


class CreditUsage(TypedDict, total=False):
    """What one call, step or day of storage did cost."""

    id: str
    tenant_id: str
    api_key_id: str | None
    execution_id: str | None
    workflow_id: str | None
    credits_used: float
    unpaid: float
    usage_type: Literal["model", "tool", "step", "storage"]
    resource_type: str | None
    resource_id: str | None
    unit_price_cents: int | None
    units_consumed: int | None
    agent: str | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    price_id: str | None
    description: str | None
    metadata: JsonObject
    created_at: str


class CreditUsagePage(Page, total=False):
    credit_usage: list[CreditUsage]


class Price(TypedDict, total=False):
    """A version of a price, in credits: per million tokens, and per call."""

    id: str | None
    source: Literal["table", "settings"]
    kind: Literal["model", "tool", "step", "storage"]
    name: str
    input_per_1m: float
    cached_per_1m: float | None
    output_per_1m: float
    per_call: float
    max_output_tokens: int | None
    own: bool
    effective_from: str | None
    withdrawn: bool
    current: bool


class Prices(TypedDict, total=False):
    """What the tenant pays; `unpriced_models` says what becomes of models that have no price."""

    prices: list[Price]
    unpriced_models: JsonObject


class Wasted(Amounts, total=False):
    """What came to nothing."""

    retried: Amounts
    rolled_back: Amounts
    abandoned: Amounts


class CostPart(Amounts, total=False):
    """What a part of a run did cost: an agent, a step, or a model (or tool, or fee)."""

    useful: float
    wasted: float
    agent: str
    lineage: int | None
    step_index: int | None
    status: str | None
    current: bool
    attempts: int
    usage_type: str
    model: str


class Costs(TypedDict, total=False):
    """What a run did cost: `useful` and `wasted` come to `credits_used`."""

    execution_id: str
    status: str
    credits_used: float
    useful: Amounts
    in_progress: Amounts
    wasted: Wasted
    agents: list[CostPart]
    steps: list[CostPart]
    models: list[CostPart]
    budget: JsonObject | None
    forks: list[JsonObject]
