"""What a tenant reads of its money: lots, movements, charges. Amounts are in millionths of a credit.

`transactions` and `credit_usage` are views over the ledger (migration 0012). Their rows are numbered without a gap, so lists
go by number; the cursor of a page is the last number, written as an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, TableClause, column, func, select, table
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import CreditGrant, LedgerEntry, ParkedRun

_BOOKED = ("id", "tenant_id", "number", "created_at", "execution_id")
TRANSACTIONS = table(
    "transactions",
    *(column(name) for name in _BOOKED),
    *(column(name) for name in ("user_id", "type", "amount", "credits_before", "credits_after")),
    *(column(name) for name in ("stripe_payment_intent_id", "stripe_customer_id", "payment_method", "payment_status")),
    *(column(name) for name in ("reference", "description", "metadata", "completed_at")),
)
CREDIT_USAGE = table(
    "credit_usage",
    *(column(name) for name in _BOOKED),
    *(column(name) for name in ("api_key_id", "workflow_id", "credits_used", "unpaid", "usage_type", "resource_type")),
    *(column(name) for name in ("resource_id", "unit_price_cents", "units_consumed", "agent", "input_tokens")),
    *(column(name) for name in ("cached_tokens", "output_tokens", "price_id", "description", "metadata")),
)
#: Sources that are somebody's paying, by Stripe or otherwise.
_TOPUPS = ("purchase", "manual")
#: Numbers of entries end here; ids begin far above.
_MOST = 2**63


@dataclass(frozen=True)
class Wanted:
    """What movements and charges are filtered by; None is everything. `until` is not included."""

    type: str | None = None
    execution_id: UUID | None = None
    workflow_id: UUID | None = None
    api_key_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class BillingRepository(Repository):
    async def lots(self) -> Sequence[CreditGrant]:
        """Lots of which something is left, in the order in which they burn."""
        query = (
            select(CreditGrant)
            .where(col(CreditGrant.tenant_id) == self.tenant_id, col(CreditGrant.is_left))
            .order_by(col(CreditGrant.priority), col(CreditGrant.expires_at).asc().nulls_last(), col(CreditGrant.id))
        )
        return (await self.session.execute(query)).scalars().all()

    async def last_topup(self) -> datetime | None:
        """When credits were bought last, or granted by hand."""
        query = select(func.max(col(CreditGrant.created_at))).where(
            col(CreditGrant.tenant_id) == self.tenant_id, col(CreditGrant.source).in_(_TOPUPS)
        )
        found: datetime | None = (await self.session.execute(query)).scalar_one()
        return found

    async def unpaid(self) -> int:
        """What charges came to that the tenant's credits did not cover."""
        query = select(func.coalesce(func.sum(col(LedgerEntry.unpaid)), 0)).where(
            col(LedgerEntry.tenant_id) == self.tenant_id, col(LedgerEntry.kind) == "settle"
        )
        return int((await self.session.execute(query)).scalar_one())

    async def parked(self) -> int:
        """How many runs wait for credits, or for a budget."""
        query = select(func.count()).where(col(ParkedRun.tenant_id) == self.tenant_id)
        return int((await self.session.execute(query)).scalar_one())

    async def transactions(self, page: Page, wanted: Wanted) -> Listing[Any]:
        """All movements but holds and releases, which move nothing in or out."""
        query = self._filtered(TRANSACTIONS, wanted)
        if wanted.type is not None:
            query = query.where(TRANSACTIONS.c.type == wanted.type)
        return await self._booked(query, TRANSACTIONS, page)

    async def charges(self, page: Page, wanted: Wanted) -> Listing[Any]:
        """What each call, step or day of storage did cost."""
        query = self._filtered(CREDIT_USAGE, wanted)
        for name, value in (
            ("usage_type", wanted.type),
            ("workflow_id", wanted.workflow_id),
            ("api_key_id", wanted.api_key_id),
        ):
            if value is not None:
                query = query.where(CREDIT_USAGE.c[name] == value)
        return await self._booked(query, CREDIT_USAGE, page)

    def _filtered(self, view: TableClause, wanted: Wanted) -> Select[Any]:
        query = select(*view.c).where(view.c.tenant_id == self.tenant_id)
        if wanted.execution_id is not None:
            query = query.where(view.c.execution_id == wanted.execution_id)
        if wanted.since is not None:
            query = query.where(view.c.created_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(view.c.created_at < wanted.until)
        return query

    async def _booked(self, query: Select[Any], view: TableClause, page: Page) -> Listing[Any]:
        total: int = (await self.session.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
        if page.cursor is not None:
            query = query.where(view.c.number < self._number(page.cursor))
        query = query.order_by(view.c.number.desc()).offset(page.offset).limit(page.limit + 1)
        rows = (await self.session.execute(query)).all()
        more = len(rows) > page.limit
        rows = rows[: page.limit]
        return Listing(rows, total, UUID(int=rows[-1].number) if more else None)

    def _number(self, cursor: UUID) -> ColumnElement[int] | int:
        """Where a page begins. The id of a row does as well, as in other lists."""
        if cursor.int < _MOST:
            return cursor.int
        entry = select(col(LedgerEntry.number)).where(
            col(LedgerEntry.tenant_id) == self.tenant_id, col(LedgerEntry.id) == cursor
        )
        return entry.scalar_subquery()
