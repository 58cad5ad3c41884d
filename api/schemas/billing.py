"""Credits on the wire: the balance, movements, usage, prices, what a run did cost. Amounts are in credits."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer

from api.schemas.common import Credits, Instant, read_time

TransactionType = Literal[
    "usage", "topup", "subscription", "gift", "manual", "refund", "dispute", "expiry", "adjustment"
]
UsageType = Literal["model", "tool", "step", "storage"]
Period = Literal["day", "week", "month", "year", "all"]
GroupBy = Literal["day", "model", "tool", "workflow", "api_key", "execution", "agent", "type"]
Status = Literal["completed", "in_progress", "retried", "rolled_back", "abandoned"]


def _first_moment(value: Any) -> Any:
    return read_time(value) if isinstance(value, str) else value


def _moment_after(value: Any) -> Any:
    found = _first_moment(value)
    try:
        return found + timedelta(days=1) if type(found) is date else found
    except OverflowError:
        return found


#: The beginning of a time: a day begins at midnight.
Start = Annotated[Instant, BeforeValidator(_first_moment)]
#: The end of a time: a day is included, a moment is not.
End = Annotated[Instant, BeforeValidator(_moment_after)]


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


#: A price in credits, as it was set.
PriceNumber = Annotated[Decimal, PlainSerializer(_number, return_type=int | float)]


class GrantView(BaseModel):
    """A lot of credits. Those with the lower priority burn first, then those that expire first."""

    id: UUID
    source: str
    priority: int
    amount: Credits
    remaining: Credits
    expires_at: datetime | None
    created_at: datetime


class BalanceView(BaseModel):
    """What the tenant has. `balance` is `available` and `held`: what calls under way may cost at most is held."""

    balance: Credits
    balance_usd: float
    last_topup_at: datetime | None
    available: Credits
    held: Credits
    spent: Credits
    #: What was used beyond the credits, while they were not enforced.
    unpaid: Credits
    #: Whether runs wait when there are no credits.
    enforced: bool
    #: Below so many credits the tenant is warned; 0 for never.
    low_credits: Credits
    is_low: bool
    #: Runs that wait for credits or for a budget.
    parked_runs: int
    grants: list[GrantView]


class TransactionView(BaseModel):
    """A movement: credits that came in, went out, or were used."""

    id: UUID
    tenant_id: UUID
    user_id: UUID | None
    type: TransactionType
    amount: Credits
    credits_before: Credits
    credits_after: Credits
    stripe_payment_intent_id: str | None
    stripe_customer_id: str | None
    payment_method: str | None
    payment_status: str | None
    reference: str | None
    execution_id: UUID | None
    description: str | None
    metadata: dict[str, Any]
    created_at: datetime
    completed_at: datetime | None


class TransactionList(BaseModel):
    transactions: list[TransactionView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class Amounts(BaseModel):
    """What was spent. `tokens` are input and output; cached tokens are among the input."""

    credits: Credits = 0
    calls: int = 0
    tokens: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


class UsageGroup(Amounts):
    """What was spent on one thing; `key` is null for what has none, as a step's fee has no model."""

    key: str | None
    name: str | None
    unpaid: Credits


class UsageList(Amounts):
    """What was spent in a time, in all and by group."""

    period: Period | None
    start_date: datetime | None
    end_date: datetime
    group_by: GroupBy
    unpaid: Credits
    usage: list[UsageGroup]
    total: int
    limit: int
    offset: int


class CreditUsageView(BaseModel):
    """What one call, step or day of storage did cost."""

    id: UUID
    tenant_id: UUID
    api_key_id: UUID | None
    execution_id: UUID | None
    workflow_id: UUID | None
    credits_used: Credits
    unpaid: Credits
    usage_type: UsageType
    resource_type: str | None
    resource_id: UUID | None
    unit_price_cents: int | None
    units_consumed: int | None
    agent: str | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    price_id: UUID | None
    description: str | None
    metadata: dict[str, Any]
    created_at: datetime


class CreditUsageList(BaseModel):
    credit_usage: list[CreditUsageView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class PriceView(BaseModel):
    """A version of a price, in credits: per million tokens, and per call. `name` is a model or a tool; else empty."""

    #: None for a price of the settings, which has no versions.
    id: UUID | None = None
    source: Literal["table", "settings"]
    kind: UsageType
    name: str
    input_per_1m: PriceNumber
    cached_per_1m: PriceNumber | None = None
    output_per_1m: PriceNumber
    per_call: PriceNumber = Decimal(0)
    max_output_tokens: int | None = None
    #: Whether it is the tenant's own, and not everybody's.
    own: bool = False
    effective_from: datetime | None = None
    withdrawn: bool = False
    #: Whether it is the version that holds now.
    current: bool


class DefaultPrice(BaseModel):
    """What a model costs that has no price; `refused` where such calls are not made."""

    refused: bool
    input_per_1m: PriceNumber
    cached_per_1m: PriceNumber | None
    output_per_1m: PriceNumber
    per_call: PriceNumber


class PriceList(BaseModel):
    """What the tenant pays, by kind and name, each with its newest version first."""

    prices: list[PriceView]
    unpriced_models: DefaultPrice


class Wasted(Amounts):
    """What came to nothing: of attempts whose answers were not used, of what was rolled back, of what never ended."""

    retried: Amounts
    rolled_back: Amounts
    abandoned: Amounts


class Split(Amounts):
    useful: Credits
    wasted: Credits


class AgentCosts(Split):
    agent: str


class StepCosts(Split):
    """A step; without numbers it is what was charged for the run and no step of it."""

    lineage: int | None
    step_index: int | None
    agent: str
    status: str | None
    current: bool = Field(description="Whether it led to where the run stands")
    attempts: int


class ResourceCosts(Split):
    """A model, a tool, fees of steps."""

    usage_type: UsageType
    model: str


class ExecutionBudget(BaseModel):
    """What the run and its forks may spend together."""

    id: UUID
    amount: Credits
    spent: Credits
    held: Credits
    remaining: Credits


class ForkCosts(BaseModel):
    execution_id: UUID
    status: str
    credits_used: Credits


class CostsView(BaseModel):
    """What a run did cost: `useful` and `wasted` come to `credits_used`. What is `in_progress` counts as useful for now."""

    execution_id: UUID
    status: str
    credits_used: Credits
    useful: Amounts
    in_progress: Amounts
    wasted: Wasted
    agents: list[AgentCosts]
    steps: list[StepCosts]
    models: list[ResourceCosts]
    budget: ExecutionBudget | None
    #: The runs that were forked from it, which are not part of the sums.
    forks: list[ForkCosts]
