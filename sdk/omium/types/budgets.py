"""Budgets, and when people are told of few credits. Amounts are in credits; one is a US cent."""

from __future__ import annotations

from typing import Literal, TypedDict

from omium.types.base import Page


class Budget(TypedDict, total=False):
    """What may be spent. `held` is what calls under way may cost; `remaining` may be below zero after it was lowered."""

    id: str
    scope: Literal["tenant", "workflow", "api_key", "execution"]
    scope_id: str | None
    period: Literal["total", "month"]
    amount: float
    spent: float
    held: float
    remaining: float
    used_percent: float
    thresholds: list[int]
    period_start: str
    resets_at: str | None
    created_at: str
    updated_at: str


class BudgetPage(Page):
    budgets: list[Budget]


class Alerts(TypedDict, total=False):
    """Below `low_credits` people are told; 0 for never."""

    low_credits: float
