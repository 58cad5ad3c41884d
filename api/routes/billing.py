"""`/billing`: what a tenant has, what moved, what it used and what it pays. Payments: `api.routes.billing_payments`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.auth.principal import Principal
from api.deps import Billing, requires
from api.schemas.billing import (
    BalanceView,
    CreditUsageList,
    End,
    GroupBy,
    Period,
    PriceList,
    Start,
    TransactionList,
    TransactionType,
    UsageList,
    UsageType,
)
from api.schemas.common import PageQuery, listing
from models.repositories.billing import Wanted

router = APIRouter(prefix="/billing", tags=["billing"])


@router.get("/balance", response_model=BalanceView)
async def balance(billing: Billing, caller: Annotated[Principal, requires("billing:read")]) -> BalanceView:
    """What the tenant has, what of it is held for calls under way, and the lots that it is made of."""
    return await billing.balance(caller)


@router.get("/transactions", response_model=TransactionList)
async def transactions(
    billing: Billing,
    caller: Annotated[Principal, requires("billing:read")],
    page: Annotated[PageQuery, Depends()],
    type: TransactionType | None = None,
    execution_id: UUID | None = None,
    start_date: Start | None = None,
    end_date: End | None = None,
) -> dict[str, Any]:
    """All movements of credits, the newest first: what came in, what went out, what was used."""
    wanted = Wanted(type=type, execution_id=execution_id, since=start_date, until=end_date)
    found, views = await billing.transactions(caller, page.as_page(), wanted)
    return listing("transactions", views, found, page)


@router.get("/usage", response_model=UsageList)
async def usage(
    billing: Billing,
    caller: Annotated[Principal, requires("usage:read")],
    period: Annotated[Period | None, Query(description="Until now; the month if nothing is said")] = None,
    start_date: Start | None = None,
    end_date: End | None = None,
    group_by: GroupBy = "day",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> UsageList:
    """What was spent in a time (in UTC), in all and by group. Dates go before the period."""
    return await billing.usage(caller, period, start_date, end_date, group_by=group_by, limit=limit, offset=offset)


@router.get("/credit-usage", response_model=CreditUsageList)
async def credit_usage(
    billing: Billing,
    caller: Annotated[Principal, requires("usage:read")],
    page: Annotated[PageQuery, Depends()],
    usage_type: UsageType | None = None,
    execution_id: UUID | None = None,
    workflow_id: UUID | None = None,
    api_key_id: UUID | None = None,
    start_date: Start | None = None,
    end_date: End | None = None,
) -> dict[str, Any]:
    """What each call, step or day of storage did cost, the newest first."""
    wanted = Wanted(usage_type, execution_id, workflow_id, api_key_id, start_date, end_date)
    found, views = await billing.charges(caller, page.as_page(), wanted)
    return listing("credit_usage", views, found, page)


@router.get("/prices", response_model=PriceList)
async def prices(billing: Billing, caller: Annotated[Principal, requires("usage:read")]) -> PriceList:
    """What the tenant pays for models, tools, steps and storage, now and in other versions."""
    return await billing.prices(caller)
