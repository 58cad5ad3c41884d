"""What happens to the ledger without a call: dead holds, credits that expire, fees of steps, days of storage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update
from sqlmodel import col

from models.database import Database
from models.pricing import Rate, storage_cost
from models.repositories.bookkeeping import BookkeepingRepository
from models.repositories.journal import JournalRepository, StepKey
from models.repositories.ledger import CallKey, LedgerRepository, Movement, reserve
from models.repositories.prices import add_price
from models.repositories.steps import CompletedStep, open_attempt, record_completed_step
from models.tables import Agent, CreditAccount, Execution, JournalEntry, LedgerEntry, Price
from models.tables.base import now
from tests.support.tenants import add_execution, add_tenant
from workers.bookkeeper import Bookkeeper


@dataclass
class Holder:
    """A tenant with 1000 millionths of a credit, and a step that may hold some of them."""

    database: Database
    tenant: UUID
    step: StepKey

    async def begin(self) -> int:
        opened = await open_attempt(self.database, self.tenant, self.step, name="step", framework="langgraph")
        assert opened.attempt is not None
        return opened.attempt

    async def hold(self, attempt: int, request: str = "r", *, minutes: float = 2.0) -> CallKey:
        """A hold of 100 that was made some minutes ago."""
        call = CallKey(self.step, request, 0)
        assert (await reserve(self.database, self.tenant, call, attempt, 100, enforced=True)).outcome == "held"
        async with self.database.transaction(self.tenant) as db:
            made = text("UPDATE credit_holds SET created_at = :at WHERE request_hash = :request")
            await db.execute(made, {"at": now() - timedelta(minutes=minutes), "request": request})
        return call

    async def account(self) -> CreditAccount:
        async with self.database.transaction(self.tenant) as db:
            return await LedgerRepository(db, self.tenant).account()

    async def held(self) -> int:
        """What is held after the books were looked at."""
        await Bookkeeper(self.database).once()
        return (await self.account()).held

    async def set(self, table: type[Any], **values: Any) -> None:
        async with self.database.transaction(self.tenant) as db:
            key = table.id if table is Execution else table.execution_id
            await db.execute(update(table).where(col(key) == self.step.execution_id).values(**values))

    async def price(self, kind: str, per_call: str, **options: Any) -> None:
        async with self.database.system() as db:
            await add_price(db, Price(tenant_id=self.tenant, kind=kind, per_call=Decimal(per_call), **options))

    async def complete(self, attempt: int) -> None:
        key = self.step
        await record_completed_step(
            self.database,
            CompletedStep(
                tenant_id=self.tenant,
                execution_id=key.execution_id,
                lineage=0,
                step_index=key.step_index,
                step_name="writer",
                attempt=attempt,
                checkpoint_name=None,
                checkpoint_label="writer",
                blob="0" * 64,
                size=10,
                unit=None,
                usage={},
                next_step="next",
                outputs=None,
                outputs_blob=None,
            ),
        )


@pytest.fixture
async def holder(database: Database) -> Holder:
    tenant = await add_tenant(database)
    owned = await add_execution(database, tenant, status="running")
    async with database.transaction(tenant) as db:
        await LedgerRepository(db, tenant).grant(Movement("g", 1000, "purchase"))
    return Holder(database, tenant, StepKey(owned.execution, 0, 7))


async def test_hold_of_an_attempt_that_may_still_run_stays(holder: Holder) -> None:
    await holder.hold(await holder.begin(), minutes=500)
    assert await holder.held() == 100
    await holder.set(Execution, status="paused")
    await holder.hold(1, "fresh")
    assert await holder.held() == 100


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (Agent, {"attempt": 2}),
        (Agent, {"status": "completed"}),
        (Execution, {"status": "failed"}),
        (Execution, {"lineage": 1}),
    ],
)
async def test_hold_that_nobody_will_settle_is_released(holder: Holder, table: type[Any], values: Any) -> None:
    await holder.hold(await holder.begin())
    await holder.set(table, **values)
    assert await holder.held() == 0
    account = await holder.account()
    assert (account.available, account.spent) == (1000, 0)


async def test_hold_of_a_parked_step_is_released(holder: Holder) -> None:
    await holder.hold(await holder.begin())
    await holder.set(Agent, status="waiting")
    assert await holder.held() == 100
    await holder.set(Execution, status="paused")
    assert await holder.held() == 0


async def test_fresh_hold_is_left_to_its_worker(holder: Holder) -> None:
    await holder.hold(await holder.begin(), minutes=0.5)
    await holder.set(Execution, status="failed")
    assert await holder.held() == 100


async def test_holds_of_another_tenant_are_left_alone(holder: Holder) -> None:
    await holder.hold(await holder.begin())
    await holder.set(Execution, status="failed")
    other = await add_tenant(holder.database)
    for owner, bound_to in ((other, holder.tenant), (holder.tenant, other)):
        async with holder.database.transaction(owner) as db:
            assert (await BookkeepingRepository(db, bound_to).sweep(now(), now())).released == 0
    assert (await holder.account()).held == 100


async def test_answer_that_was_journaled_is_settled_by_the_journal(holder: Holder) -> None:
    call = await holder.hold(await holder.begin())
    entry = JournalEntry(
        execution_id=call.step.execution_id,
        lineage=0,
        step_index=call.step.step_index,
        request_hash=call.request_hash,
        occurrence=0,
        tenant_id=holder.tenant,
        kind="model",
        name="m",
        endpoint="chat/completions",
        attempt=1,
        content_type="application/json",
        answer=b"x",
        cost=40,
    )
    async with holder.database.transaction(holder.tenant) as db:
        await JournalRepository(db, holder.tenant).write(entry)
    assert await holder.held() == 0
    account = await holder.account()
    assert (account.available, account.spent) == (960, 40)


async def test_expired_credits_go_but_for_what_is_held(holder: Holder) -> None:
    await holder.hold(await holder.begin())
    async with holder.database.transaction(holder.tenant) as db:
        await db.execute(text("UPDATE credit_grants SET expires_at = now() - interval '1 s'"))
    assert await holder.held() == 100
    assert (await holder.account()).available == 0


async def charges(holder: Holder, kind: str) -> list[LedgerEntry]:
    async with holder.database.transaction(holder.tenant) as db:
        found = (await db.execute(text("SELECT * FROM ledger_entries WHERE usage_type = :kind"), {"kind": kind})).all()
    return [LedgerEntry(**{**row._mapping, "meta": row.metadata}) for row in found]


async def test_completed_step_pays_its_fee_once(holder: Holder) -> None:
    await holder.price("step", "0.0001")
    await holder.begin()
    # an attempt that is over completes nothing
    await holder.complete(await holder.begin() - 1)
    assert await charges(holder, "step") == []
    for _ in range(2):
        await holder.complete(2)
    (fee,) = await charges(holder, "step")
    assert (fee.spent, fee.agent, fee.step_index, fee.attempt) == (100, "writer", 7, 2)
    assert (await holder.account()).spent == 100


async def test_step_without_a_price_costs_nothing(holder: Holder) -> None:
    await holder.price("step", "0.0001")
    await holder.price("step", "0", withdrawn=True)
    await holder.complete(await holder.begin())
    assert await charges(holder, "step") == []


async def test_storage_is_charged_once_a_day(holder: Holder) -> None:
    size = 3 * 10**9
    async with holder.database.transaction(holder.tenant) as db:
        await db.execute(text("UPDATE checkpoints SET state_size_bytes = :size"), {"size": size})
    await Bookkeeper(holder.database).once()
    assert await charges(holder, "storage") == []
    await holder.price("storage", "0.0003")
    for _ in range(2):
        await Bookkeeper(holder.database).once()
    rate = Rate(per_call=Decimal("0.0003"))
    (day,) = await charges(holder, "storage")
    assert day.spent == storage_cost(rate, size, day.created_at.date()) > 0
    async with holder.database.transaction(holder.tenant) as db:
        books = BookkeepingRepository(db, holder.tenant)
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        assert [await books.charge_storage(tomorrow), await books.charge_storage(tomorrow)] == [
            storage_cost(rate, size, tomorrow),
            0,
        ]


@pytest.mark.parametrize(("day", "cost"), [(date(2026, 2, 1), 35_714_286), (date(2026, 1, 31), 32_258_065)])
def test_month_of_storage_is_paid_in_its_days(day: date, cost: int) -> None:
    assert storage_cost(Rate(per_call=Decimal(100)), 10**10, day) == cost
