"""Budgets: make, read, change, delete. One that is made later counts what was spent before it in its period."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from api.auth.principal import Principal
from api.schemas.budgets import BudgetCreate, BudgetUpdate, BudgetView
from api.services.auditing import audited, changes
from api.services.idempotency import request_hash
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.budgets import BudgetRepository, period_start
from models.repositories.executions import ExecutionRepository
from models.repositories.ledger import LedgerRepository
from models.repositories.limits import month_of, next_month
from models.repositories.parking import room_in, spent_in
from models.tables import Budget, CreditAccount, Execution
from models.tables.base import now
from omium_core.credits import to_credits, to_micro
from omium_core.errors import (
    ApiKeyNotFound,
    BudgetExists,
    BudgetNotFound,
    ExecutionNotFound,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    Problem,
    WorkflowNotFound,
)

_UNKNOWN: dict[str, type[NotFound]] = {
    "workflow": WorkflowNotFound,
    "api_key": ApiKeyNotFound,
    "execution": ExecutionNotFound,
}


class BudgetService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def create(self, caller: Principal, wanted: BudgetCreate, key: str | None = None) -> Budget:
        """The budget, or the one that the same Idempotency-Key made. Raises `InvalidInput`, `NotFound`, `BudgetExists`."""
        digest = request_hash("budget", wanted.model_dump())
        if (wanted.scope == "tenant") != (wanted.scope_id is None):
            says = "A budget of the tenant has none" if wanted.scope == "tenant" else "Must name what the budget is for"
            raise InvalidInput(f"scope_id: {says}", [Problem("scope_id", says)])
        try:
            return await self._create(caller, wanted, key, digest)
        except IntegrityError:
            # somebody was quicker with the same budget, or the same key
            return await self._create(caller, wanted, key, digest)

    async def _create(self, caller: Principal, wanted: BudgetCreate, key: str | None, digest: str) -> Budget:
        async with self._process.database.transaction(caller.tenant_id) as session:
            budgets = BudgetRepository(session, caller.tenant_id)
            made = None if key is None else await budgets.made_by(key)
            if made is not None:
                if made.request_hash != digest:
                    raise IdempotencyConflict(
                        "This Idempotency-Key was used for another request.", budget_id=str(made.id)
                    )
                return made
            if wanted.scope_id is not None and not await budgets.has(wanted.scope, wanted.scope_id):
                raise _unknown(wanted.scope, wanted.scope_id)
            await budgets.lock()
            there = await budgets.find(wanted.scope, wanted.scope_id, wanted.period)
            if there is not None:
                raise BudgetExists("There is such a budget: change its amount.", budget_id=str(there.id))
            budget = Budget(
                tenant_id=caller.tenant_id,
                **wanted.model_dump(include={"scope", "scope_id", "period"}),
                amount=to_micro(wanted.amount),
                spent=await budgets.spent_before(wanted.scope, wanted.scope_id, wanted.period),
                period_start=period_start(wanted.period).date(),
                thresholds=sorted(set(wanted.thresholds)),
                idempotency_key=key,
                request_hash=None if key is None else digest,
            )
            await budgets.add(budget)
            await audited(session, caller, "budget.create", "budget", budget.id, new=_told(budget))
        return budget

    async def get(self, caller: Principal, budget_id: UUID) -> Budget:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await BudgetRepository(session, caller.tenant_id).get(budget_id)

    async def list(self, caller: Principal, page: Page, **filters: Any) -> Listing[Budget]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await BudgetRepository(session, caller.tenant_id).list(page, **filters)

    async def update(self, caller: Principal, budget_id: UUID, wanted: BudgetUpdate) -> Budget:
        """Lowered below what was spent, it stops the next call; raised, it wakes the runs that wait for it."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            budgets = BudgetRepository(session, caller.tenant_id)
            await budgets.lock()
            budget = await budgets.get(budget_id)
            before = _told(budget)
            if wanted.amount is not None:
                budget.amount = to_micro(wanted.amount)
            if wanted.thresholds is not None:
                budget.thresholds = sorted(set(wanted.thresholds))
            budget.updated_at = now()
            await budgets.add(budget)
            old, new = changes(before, _told(budget))
            await audited(session, caller, "budget.update", "budget", budget.id, old=old, new=new)
        return budget

    async def delete(self, caller: Principal, budget_id: UUID) -> None:
        """Nothing is limited by it any more, and runs that wait for it go on."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            budgets = BudgetRepository(session, caller.tenant_id)
            await budgets.lock()
            budget = await budgets.get(budget_id)
            await budgets.delete(budget)
            await audited(session, caller, "budget.delete", "budget", budget.id, old=_told(budget))

    async def for_run(self, caller: Principal, execution_id: UUID) -> Budget:
        """What limits a run: its own budget, or that of the run it was forked from. Raises `ExecutionNotFound`, `BudgetNotFound`."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            budget = await limit_of(execution, BudgetRepository(session, caller.tenant_id))
        if budget is None:
            raise BudgetNotFound(f"Execution {execution_id} has no budget.", execution_id=str(execution_id))
        return budget

    async def of_run(self, caller: Principal, execution_id: UUID, amount: Decimal) -> Budget:
        """What a run may spend from now on, with what it spent before; its budget is made where it has none."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            there = await BudgetRepository(session, caller.tenant_id).find("execution", execution_id, "total")
        if there is not None:
            return await self.update(caller, there.id, BudgetUpdate(amount=amount))
        try:
            return await self.create(caller, BudgetCreate(scope="execution", scope_id=execution_id, amount=amount))
        except BudgetExists as error:
            return await self.update(caller, UUID(error.details["budget_id"]), BudgetUpdate(amount=amount))

    async def alerts(self, caller: Principal) -> int:
        """Below how many credits, in millionths, people are told."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            below = (await LedgerRepository(session, caller.tenant_id).account()).warn_below
        return to_micro(self._process.settings.low_credits) if below is None else below

    async def alert_below(self, caller: Principal, low_credits: Decimal) -> int:
        """Below how many credits, in millionths, people are told from now on."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            await BudgetRepository(session, caller.tenant_id).lock()
            account = await LedgerRepository(session, caller.tenant_id).account()
            warn_below = to_micro(low_credits)
            own = update(CreditAccount).where(col(CreditAccount.tenant_id) == caller.tenant_id)
            await session.execute(own.values(warn_below=warn_below))
            old = None if account.warn_below is None else to_credits(account.warn_below)
            await audited(
                session,
                caller,
                "billing.alerts",
                "tenant",
                caller.tenant_id,
                old={"low_credits": old},
                new={"low_credits": to_credits(warn_below)},
            )
        return warn_below


async def limit_of(execution: Execution, budgets: BudgetRepository) -> Budget | None:
    """What a run may spend: a fork may have a budget of its own, and shares that of the run that it comes from."""
    budget = await budgets.find("execution", execution.id)
    if budget is None and execution.root_id is not None:
        budget = await budgets.find("execution", execution.root_id)
    return budget


def budget_view(budget: Budget) -> BudgetView:
    """A budget as it stands now: in a month in which nothing was spent yet, from its beginning."""
    spent, used = spent_in(budget), spent_in(budget) + budget.held
    month = budget.period == "month"
    return BudgetView(
        **budget.model_dump(include={"id", "scope", "scope_id", "period", "amount", "held", "thresholds"}),
        spent=spent,
        remaining=room_in(budget),
        used_percent=round(100 * used / budget.amount, 2) if budget.amount else 100.0,
        period_start=month_of() if month else budget.period_start,
        resets_at=next_month(month_of()) if month else None,
        created_at=budget.created_at,
        updated_at=budget.updated_at,
    )


def micro_of(amount: Decimal | None) -> int | None:
    """What a request says in credits, as it is counted."""
    return None if amount is None else to_micro(amount)


def _unknown(scope: str, scope_id: UUID) -> NotFound:
    kind = scope.replace("_", " ").replace("api", "API")
    return _UNKNOWN[scope](f"scope_id: there is no {kind} {scope_id}.", scope_id=str(scope_id))


def _told(budget: Budget) -> dict[str, Any]:
    return {
        **budget.model_dump(include={"scope", "scope_id", "period", "thresholds"}),
        "amount": to_credits(budget.amount),
    }
