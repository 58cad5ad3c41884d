"""Runs that wait for credits or for room in a budget: written down when they park, looked through for those that could pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Repository
from models.repositories.limits import month_of
from models.tables import Budget, CreditAccount, Execution, ExecutionEvent, ParkedRun
from models.tables.base import now

#: Why a run is paused that waits for money.
MONEY = ("credits", "budget")
#: Seconds after which a run is woken again that did not go on: who woke it may have died before it heard.
AGAIN = 10.0

# what a budget has left, and whether a run may pay out of it, in a month that may be new
_COULD_PAY = text("""
SELECT DISTINCT parked.tenant_id FROM parked_runs parked
LEFT JOIN credit_accounts account ON account.tenant_id = parked.tenant_id
LEFT JOIN budgets budget ON budget.id = parked.budget_id
WHERE (parked.woken_at IS NULL OR parked.woken_at < CAST(:again AS timestamptz))
  AND CASE parked.reason
      WHEN 'credits' THEN NOT CAST(:enforced AS boolean) OR coalesce(account.available, 0) >= parked.required
      ELSE budget.id IS NULL OR budget.amount - budget.held >= parked.required
          + CASE WHEN budget.period = 'month' AND budget.period_start < CAST(:month AS date) THEN 0 ELSE budget.spent END
      END
""")


@dataclass(frozen=True)
class Waiting:
    """A parked run that could pay now, and how often it was parked."""

    execution_id: UUID
    times: int

    @property
    def command_id(self) -> str:
        """The same for all who wake it, so that it is woken once."""
        return f"funds/{self.execution_id}/{self.times}"


class ParkingRepository(Repository):
    async def park(self, execution_id: UUID, reason: str, required: int, budget_id: UUID | None) -> None:
        """Notes what a run waits for. The caller writes the event that tells of it, by which the times are counted."""
        told = select(func.count()).where(
            col(ExecutionEvent.execution_id) == execution_id, col(ExecutionEvent.event_type) == "execution.waits"
        )
        values = {
            "tenant_id": self.tenant_id,
            "execution_id": execution_id,
            "reason": reason,
            "required": required,
            "budget_id": budget_id,
            "times": (await self.session.execute(told)).scalar_one() + 1,
            "parked_at": now(),
            "woken_at": None,
        }
        statement = insert(ParkedRun).values(values)
        await self.session.execute(statement.on_conflict_do_update(index_elements=["execution_id"], set_=values))

    async def unpark(self, execution_id: UUID) -> None:
        """It goes on, ends, or stands still for another reason."""
        query = delete(ParkedRun).where(
            col(ParkedRun.tenant_id) == self.tenant_id, col(ParkedRun.execution_id) == execution_id
        )
        await self.session.execute(query)

    async def find(self, execution_id: UUID) -> ParkedRun | None:
        """What a run waits for; None for one that does not wait for money."""
        query = select(ParkedRun).where(
            col(ParkedRun.tenant_id) == self.tenant_id, col(ParkedRun.execution_id) == execution_id
        )
        found: ParkedRun | None = (await self.session.execute(query)).scalar_one_or_none()
        return found

    async def affordable(self, *, enforced: bool) -> list[Waiting]:
        """Those that could pay now, the longest parked first, not more than there is money for.

        One that costs too much does not keep those behind it waiting that cost less. Runs that were woken a moment ago
        count as if they had paid.
        """
        query = (
            select(ParkedRun)
            .join(Execution, col(Execution.id) == col(ParkedRun.execution_id))
            .where(
                col(ParkedRun.tenant_id) == self.tenant_id,
                col(Execution.status) == "paused",
                col(Execution.reason) == col(ParkedRun.reason),
            )
            .order_by(col(ParkedRun.parked_at), col(ParkedRun.execution_id))
        )
        parked: Sequence[ParkedRun] = (await self.session.execute(query)).scalars().all()
        left = await self._left(enforced=enforced)
        woken_since, chosen = now() - timedelta(seconds=AGAIN), []
        for row in sorted(parked, key=lambda row: row.woken_at is None):
            purse = row.budget_id if row.reason == "budget" else None
            is_woken = row.woken_at is not None and row.woken_at > woken_since
            # a budget that is gone limits nobody
            room = left.get(purse, row.required)
            if not is_woken and room < row.required:
                continue
            if purse in left:
                left[purse] = room - row.required
            if not is_woken:
                chosen.append(Waiting(row.execution_id, row.times))
        return chosen

    async def woken(self, execution_ids: Sequence[UUID]) -> None:
        """They were told; they are told again if that did not help."""
        query = update(ParkedRun).where(
            col(ParkedRun.tenant_id) == self.tenant_id, col(ParkedRun.execution_id).in_(execution_ids)
        )
        await self.session.execute(query.values(woken_at=now()))

    async def _left(self, *, enforced: bool) -> dict[UUID | None, int]:
        """What can be spent of each budget, and under None of the balance, where that limits anybody."""
        query = select(Budget).where(col(Budget.tenant_id) == self.tenant_id)
        budgets: Sequence[Budget] = (await self.session.execute(query)).scalars().all()
        left: dict[UUID | None, int] = {budget.id: room_in(budget) for budget in budgets}
        if enforced:
            balance = select(col(CreditAccount.available)).where(col(CreditAccount.tenant_id) == self.tenant_id)
            left[None] = (await self.session.execute(balance)).scalar_one_or_none() or 0
        return left


def spent_in(budget: Budget) -> int:
    """What was spent of a budget in its present period: nothing, in a month in which nobody paid yet."""
    is_over = budget.period == "month" and budget.period_start < month_of()
    return 0 if is_over else budget.spent


def room_in(budget: Budget) -> int:
    """What a budget has left for calls that are not under way yet; below zero once it was lowered."""
    return budget.amount - spent_in(budget) - budget.held


async def tenants_who_could_pay(session: AsyncSession, *, enforced: bool) -> list[UUID]:
    """Tenants of which a parked run could pay now: in a transaction of the platform itself, one statement for all."""
    values = {"enforced": enforced, "month": month_of(), "again": now() - timedelta(seconds=AGAIN)}
    return list((await session.execute(_COULD_PAY, values)).scalars())


async def count_parked(session: AsyncSession) -> dict[str, int]:
    """How many runs of all tenants wait, by what for: in a transaction of the platform itself."""
    query = select(col(ParkedRun.reason), func.count()).group_by(col(ParkedRun.reason))
    return dict.fromkeys(MONEY, 0) | {row[0]: row[1] for row in await session.execute(query)}
