"""Budgets: what may be spent of a tenant's credits, by whom, in which time. The ledger's functions count and check them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.repositories.limits import month_of
from models.tables import ApiKey, Budget, Execution, Workflow
from models.tables.base import now
from omium_core.errors import BudgetNotFound

_SPENT = text("""
SELECT coalesce(sum(spent), 0)::bigint FROM ledger_entries
WHERE tenant_id = :tenant AND kind = 'settle' AND created_at >= CAST(:since AS timestamptz)
  AND CASE CAST(:scope AS text)
      WHEN 'tenant' THEN true
      WHEN 'workflow' THEN workflow_id = CAST(:id AS uuid)
      WHEN 'api_key' THEN api_key_id = CAST(:id AS uuid)
      ELSE root_id = CAST(:id AS uuid) OR execution_id = CAST(:id AS uuid)
      END
""")
_LOCK = text("SELECT credit_lock(CAST(:tenant AS uuid))")
_OWNERS: dict[str, type[Workflow | ApiKey | Execution]] = {
    "workflow": Workflow,
    "api_key": ApiKey,
    "execution": Execution,
}


class BudgetRepository(Repository):
    async def lock(self) -> None:
        """Until the end of the transaction nothing of the tenant is spent. Before a budget is made or changed."""
        await self.session.execute(_LOCK, {"tenant": self.tenant_id})

    async def add(self, budget: Budget) -> None:
        self.session.add(budget)
        await self.session.flush()

    async def get(self, budget_id: UUID) -> Budget:
        """The budget as it lies there, or `BudgetNotFound`."""
        query = select(Budget).where(col(Budget.tenant_id) == self.tenant_id, col(Budget.id) == budget_id)
        found: Budget | None = (await self.session.execute(query)).scalar_one_or_none()
        if found is None:
            raise BudgetNotFound(f"Budget {budget_id} does not exist.", budget_id=str(budget_id))
        return found

    async def find(self, scope: str, scope_id: UUID | None, period: str | None = None) -> Budget | None:
        """The budget for something: of a period, or the one of all time before that of a month."""
        query = select(Budget).where(
            col(Budget.tenant_id) == self.tenant_id,
            col(Budget.scope) == scope,
            col(Budget.scope_id).is_not_distinct_from(scope_id),
        )
        if period is not None:
            query = query.where(col(Budget.period) == period)
        found: Budget | None = (
            await self.session.execute(query.order_by(col(Budget.period) != "total").limit(1))
        ).scalar_one_or_none()
        return found

    async def made_by(self, key: str) -> Budget | None:
        """The budget that a request with this Idempotency-Key made."""
        query = select(Budget).where(col(Budget.tenant_id) == self.tenant_id, col(Budget.idempotency_key) == key)
        found: Budget | None = (await self.session.execute(query)).scalar_one_or_none()
        return found

    async def list(
        self, page: Page, *, scope: str | None = None, scope_id: UUID | None = None, period: str | None = None
    ) -> Listing[Budget]:
        query = select(Budget).where(col(Budget.tenant_id) == self.tenant_id)
        for column, value in ((Budget.scope, scope), (Budget.scope_id, scope_id), (Budget.period, period)):
            if value is not None:
                query = query.where(col(column) == value)
        return await self._page(query, Budget, page)

    async def delete(self, budget: Budget) -> None:
        await self.session.delete(budget)
        await self.session.flush()

    async def has(self, scope: str, scope_id: UUID) -> bool:
        """Whether the tenant has such a workflow, key or execution; a workflow that was deleted is none."""
        table = _OWNERS[scope]
        query = select(col(table.id)).where(col(table.tenant_id) == self.tenant_id, col(table.id) == scope_id)
        if table is Workflow:
            query = query.where(col(Workflow.deleted_at).is_(None))
        return (await self.session.execute(query)).scalar_one_or_none() is not None

    async def spent_before(self, scope: str, scope_id: UUID | None, period: str) -> int:
        """What the ledger says was spent so far in the present period."""
        month = month_of()
        since = (
            datetime(month.year, month.month, 1, tzinfo=UTC) if period == "month" else datetime.min.replace(tzinfo=UTC)
        )
        values = {"tenant": self.tenant_id, "scope": scope, "id": scope_id, "since": since}
        return int((await self.session.execute(_SPENT, values)).scalar_one())


def period_start(period: str) -> datetime:
    """When the present period of a new budget began: with the month, or with the budget."""
    return datetime.combine(month_of(), datetime.min.time(), UTC) if period == "month" else now()
