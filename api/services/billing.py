"""What a tenant sees of its money: balance, movements, usage, prices."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from api.auth.principal import Principal
from api.schemas.billing import (
    BalanceView,
    CreditUsageView,
    DefaultPrice,
    GrantView,
    Period,
    PriceList,
    PriceView,
    TransactionView,
    UsageGroup,
    UsageList,
)
from api.wiring import Wiring
from models.pricing import rate_at
from models.repositories.base import Listing, Page
from models.repositories.billing import BillingRepository, Wanted
from models.repositories.ledger import LedgerRepository
from models.repositories.prices import PriceRepository
from models.repositories.spending import SpendingRepository, Spent
from models.tables.base import now
from omium_core.credits import PER_DOLLAR, to_dollars, to_micro
from omium_core.errors import InvalidInput, Problem

_RATE = ("input_per_1m", "cached_per_1m", "output_per_1m", "per_call")
_VERSION = ("kind", "name", "own", "effective_from", "withdrawn")


class BillingService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def balance(self, caller: Principal) -> BalanceView:
        """As of now: lots whose time is over are taken first."""
        settings = self._process.settings
        async with self._process.database.transaction(caller.tenant_id) as session:
            ledger = LedgerRepository(session, caller.tenant_id)
            await ledger.expire()
            account = await ledger.account()
            billing = BillingRepository(session, caller.tenant_id)
            lots = await billing.lots()
            topup, unpaid, parked = await billing.last_topup(), await billing.unpaid(), await billing.parked()
        balance = account.available + account.held
        low = to_micro(settings.low_credits) if account.warn_below is None else account.warn_below
        return BalanceView(
            balance=balance,
            balance_usd=to_dollars(balance),
            last_topup_at=topup,
            available=account.available,
            held=account.held,
            spent=account.spent,
            unpaid=unpaid,
            enforced=settings.enforces_credits,
            low_credits=low,
            is_low=balance < low,
            parked_runs=parked,
            grants=[GrantView(**lot.model_dump()) for lot in lots],
        )

    async def transactions(
        self, caller: Principal, page: Page, wanted: Wanted
    ) -> tuple[Listing[Any], list[TransactionView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await BillingRepository(session, caller.tenant_id).transactions(page, wanted)
        return found, [TransactionView(**_told(row)) for row in found.rows]

    async def charges(
        self, caller: Principal, page: Page, wanted: Wanted
    ) -> tuple[Listing[Any], list[CreditUsageView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await BillingRepository(session, caller.tenant_id).charges(page, wanted)
        return found, [CreditUsageView(**_told(row)) for row in found.rows]

    async def usage(
        self,
        caller: Principal,
        period: Period | None,
        since: datetime | None,
        until: datetime | None,
        *,
        group_by: str,
        limit: int,
        offset: int,
    ) -> UsageList:
        """Of a period that is not over yet, or between two moments. Raises `InvalidInput` where one end is after the other."""
        at = now()
        if since is None and until is None:
            period = period or "month"
            since, until = beginning(period, at), at
        else:
            period, until = None, until or at
        if period is None and since is not None and since >= until:
            raise InvalidInput(
                "start_date: is not before end_date.",
                [Problem("start_date", "is not before end_date, or not before now")],
            )
        async with self._process.database.transaction(caller.tenant_id) as session:
            spending = SpendingRepository(session, caller.tenant_id)
            found = await spending.usage(group_by, since, until, limit=limit, offset=offset)
        return UsageList(
            period=period,
            start_date=since,
            end_date=until,
            group_by=group_by,
            usage=[UsageGroup(key=group.key, name=group.name, **_amounts(group.spent)) for group in found.groups],
            total=found.total,
            limit=limit,
            offset=offset,
            **_amounts(found.all),
        )

    async def prices(self, caller: Principal) -> PriceList:
        """All versions, also those that begin later, with those marked that hold now; then those of the settings."""
        settings, at = self._process.settings, now()
        async with self._process.database.transaction(caller.tenant_id) as session:
            versions = await PriceRepository(session, caller.tenant_id).versions()
        named = {(version.kind, version.name) for version in versions}
        rates = [rate_at(versions, kind, name, at) for kind, name in named]
        current = {rate.id for rate in rates if rate is not None}
        shown = [
            PriceView(
                **asdict(version.rate),
                **{name: getattr(version, name) for name in _VERSION},
                source="table",
                current=version.rate.id in current,
            )
            for version in sorted(versions, key=lambda version: (version.kind, version.name, -version.number))
        ]
        shown += [
            PriceView(
                kind="model",
                name=name,
                input_per_1m=price.input * PER_DOLLAR,
                output_per_1m=price.output * PER_DOLLAR,
                source="settings",
                current=rate_at(versions, "model", name, at) is None,
            )
            for name, price in sorted(settings.model_prices.items())
        ]
        unpriced = {name: getattr(settings.default_price, name) for name in _RATE}
        return PriceList(
            prices=shown, unpriced_models=DefaultPrice(refused=settings.refuses_unpriced_models, **unpriced)
        )


def beginning(period: Period, at: datetime) -> datetime | None:
    """The first moment of the day, week (from Monday), month or year (in UTC) that is not over; None for all time."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)
        case "all":
            return None


def _amounts(spent: Spent) -> dict[str, Any]:
    return {**asdict(spent), "tokens": spent.input_tokens + spent.output_tokens}


def _told(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)
