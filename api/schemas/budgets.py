"""Budgets on the wire. Amounts are credits."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, WithJsonSchema

from api.schemas.common import Credits, Request

Scope = Literal["tenant", "workflow", "api_key", "execution"]
Period = Literal["total", "month"]

_LARGEST = 1_000_000_000
_LARGEST_THRESHOLD = 1000


def _amount(*, least: str) -> dict[str, object]:
    return {"type": "number", least: 0, "maximum": _LARGEST, "multipleOf": 0.000001, "description": "Credits"}


#: Credits, to the millionth.
Amount = Annotated[
    Decimal,
    Field(ge=0, le=_LARGEST, decimal_places=6, allow_inf_nan=False),
    WithJsonSchema(_amount(least="minimum")),
]
#: What one run may spend, with all its forks.
RunBudget = Annotated[
    Decimal,
    Field(gt=0, le=_LARGEST, decimal_places=6, allow_inf_nan=False),
    WithJsonSchema({**_amount(least="exclusiveMinimum"), "description": "What the run may spend, in credits"}),
]
#: Percent of a budget at which people are told.
Thresholds = Annotated[
    list[Annotated[int, Field(ge=1, le=_LARGEST_THRESHOLD)]], Field(max_length=20, description="Percent")
]


class BudgetCreate(Request):
    """`scope_id` is the workflow, the API key or the execution; a tenant's budget has none."""

    scope: Scope
    scope_id: UUID | None = None
    period: Period = "total"
    amount: Amount
    thresholds: Thresholds = Field(default_factory=lambda: [50, 80, 100])


class BudgetUpdate(Request):
    """What is not given stays as it is."""

    amount: Amount | None = None
    thresholds: Thresholds | None = None


class RunBudgetUpdate(Request):
    amount: Amount


class BudgetView(BaseModel):
    """`held` is what calls under way may cost. `remaining` is below zero where the budget was lowered under what was spent."""

    id: UUID
    scope: Scope
    scope_id: UUID | None
    period: Period
    amount: Credits
    spent: Credits
    held: Credits
    remaining: Credits
    used_percent: float
    thresholds: list[int]
    period_start: date
    #: When a month's budget begins anew.
    resets_at: datetime | None
    created_at: datetime
    updated_at: datetime


class BudgetList(BaseModel):
    budgets: list[BudgetView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class AlertsUpdate(Request):
    """Below `low_credits` people are told; 0 for never."""

    low_credits: Amount


class AlertsView(BaseModel):
    low_credits: Credits
