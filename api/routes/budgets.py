"""`/billing/budgets`, `/billing/alerts`, `/executions/{id}/budget`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response

from api.auth.principal import Principal
from api.deps import Budgets, requires
from api.schemas.budgets import (
    AlertsUpdate,
    AlertsView,
    BudgetCreate,
    BudgetList,
    BudgetUpdate,
    BudgetView,
    Period,
    RunBudgetUpdate,
    Scope,
)
from api.schemas.common import PageQuery, listing
from api.schemas.executions import IdempotencyHeader
from api.services.budgets import budget_view

router = APIRouter(tags=["budgets"])


@router.post("/billing/budgets", status_code=201, response_model=BudgetView)
async def create(
    body: BudgetCreate,
    budgets: Budgets,
    caller: Annotated[Principal, requires("billing:manage")],
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> BudgetView:
    """Counts what was spent before in the same period."""
    return budget_view(await budgets.create(caller, body, idempotency_key))


@router.get("/billing/budgets", response_model=BudgetList)
async def list_all(
    budgets: Budgets,
    caller: Annotated[Principal, requires("billing:read")],
    page: Annotated[PageQuery, Depends()],
    scope: Scope | None = None,
    scope_id: UUID | None = None,
    period: Period | None = None,
) -> dict[str, Any]:
    found = await budgets.list(caller, page.as_page(), scope=scope, scope_id=scope_id, period=period)
    return listing("budgets", [budget_view(row) for row in found.rows], found, page)


@router.get("/billing/budgets/{budget_id}", response_model=BudgetView)
async def get(budget_id: UUID, budgets: Budgets, caller: Annotated[Principal, requires("billing:read")]) -> BudgetView:
    return budget_view(await budgets.get(caller, budget_id))


@router.put("/billing/budgets/{budget_id}", response_model=BudgetView)
async def update(
    budget_id: UUID,
    body: BudgetUpdate,
    budgets: Budgets,
    caller: Annotated[Principal, requires("billing:manage")],
) -> BudgetView:
    """Raised, it wakes the runs that wait for it. Lowered below what was spent, it stops runs at their next call."""
    return budget_view(await budgets.update(caller, budget_id, body))


@router.delete("/billing/budgets/{budget_id}", status_code=204)
async def delete(
    budget_id: UUID, budgets: Budgets, caller: Annotated[Principal, requires("billing:manage")]
) -> Response:
    """Runs that wait for it go on."""
    await budgets.delete(caller, budget_id)
    return Response(status_code=204)


@router.get("/billing/alerts", response_model=AlertsView)
async def alerts(budgets: Budgets, caller: Annotated[Principal, requires("billing:read")]) -> AlertsView:
    """Below how many credits people are told; 0 for never."""
    return AlertsView(low_credits=await budgets.alerts(caller))


@router.put("/billing/alerts", response_model=AlertsView)
async def change_alerts(
    body: AlertsUpdate, budgets: Budgets, caller: Annotated[Principal, requires("billing:manage")]
) -> AlertsView:
    """Below how many credits people are told."""
    return AlertsView(low_credits=await budgets.alert_below(caller, body.low_credits))


@router.get("/executions/{execution_id}/budget", response_model=BudgetView)
async def budget_of_run(
    execution_id: UUID, budgets: Budgets, caller: Annotated[Principal, requires("billing:read")]
) -> BudgetView:
    """What a run may spend in all: its own budget, or that of the run it was forked from, which both share. 404
    `BUDGET_NOT_FOUND` if there is none."""
    return budget_view(await budgets.for_run(caller, execution_id))


@router.put("/executions/{execution_id}/budget", response_model=BudgetView)
async def change_budget_of_run(
    execution_id: UUID,
    body: RunBudgetUpdate,
    budgets: Budgets,
    caller: Annotated[Principal, requires("billing:manage")],
) -> BudgetView:
    """What a run may spend in all, with its forks: made where it has none. What it spent before counts."""
    return budget_view(await budgets.of_run(caller, execution_id, body.amount))
