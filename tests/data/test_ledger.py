"""The ledger's movements, one by one."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from asyncpg import PostgresError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository, Movement, Reservation, release, reserve
from models.tables import Budget, CreditAccount
from models.tables.base import new_id, now
from tests.support.tenants import add_tenant


def call(occurrence: int = 0, execution: UUID | None = None, request: str = "r") -> CallKey:
    return CallKey(StepKey(execution or new_id(), 0, 0), request, occurrence)


async def grant(database: Database, tenant: UUID, amount: int, key: str = "g", **options: object) -> bool:
    async with database.transaction(tenant) as db:
        return await LedgerRepository(db, tenant).grant(Movement(key, amount, "purchase"), **options)  # type: ignore[arg-type]


async def settle(database: Database, tenant: UUID, key: CallKey, cost: int) -> bool:
    async with database.transaction(tenant) as db:
        return await LedgerRepository(db, tenant).settle(key, Charge(cost, "model", "m"))


async def stands(database: Database, tenant: UUID) -> tuple[int, int, int, int]:
    async with database.transaction(tenant) as db:
        account: CreditAccount = await LedgerRepository(db, tenant).account()
        left = (await db.execute(text("SELECT coalesce(sum(remaining), 0) FROM credit_grants"))).scalar_one()
    assert left == account.available + account.held
    return account.available, account.held, account.spent, account.outside


@pytest.fixture
async def payer(database: Database) -> UUID:
    return await add_tenant(database)


async def test_call_is_reserved_settled_and_paid_once(database: Database, payer: UUID) -> None:
    assert await grant(database, payer, 1000)
    assert not await grant(database, payer, 1000)
    first = call()
    assert await reserve(database, payer, first, 1, 400, enforced=True) == Reservation("held")
    assert await stands(database, payer) == (600, 400, 0, -1000)
    assert await settle(database, payer, first, 150)
    assert not await settle(database, payer, first, 150)
    assert await stands(database, payer) == (850, 0, 150, -1000)


async def test_rows_that_every_call_changes_are_changed_in_place(database: Database, payer: UUID) -> None:
    """No index is over what a call changes, or each of thousands a minute would leave an entry in it."""
    rows = {
        table: text(f"SELECT to_jsonb({table}) FROM {table} WHERE tenant_id = :payer")
        for table in ("budgets", "credit_accounts", "credit_grants")
    }
    indexed = text("""
        SELECT relation.relname, attribute.attname FROM pg_index i
        JOIN pg_class relation ON relation.oid = i.indrelid
        JOIN pg_attribute attribute ON attribute.attrelid = i.indrelid AND attribute.attnum > 0
        LEFT JOIN pg_depend used ON (used.objid, used.refobjid, used.refobjsubid) = (i.indexrelid, i.indrelid, attribute.attnum)
        WHERE relation.relname = ANY (:tables) AND (attribute.attnum = ANY (i.indkey) OR used.objid IS NOT NULL)
    """)
    async with database.transaction(payer) as db:
        ledger = LedgerRepository(db, payer)
        db.add(Budget(tenant_id=payer, scope="tenant", amount=10_000, period_start=now().date()))
        await ledger.grant(Movement("g", 1000, "purchase"))
        await ledger.settle(call(), Charge(10, "model", "m"))
        before = {table: (await db.execute(query, {"payer": payer})).scalar_one() for table, query in rows.items()}
        await ledger.settle(call(), Charge(10, "model", "m"))
        after = {table: (await db.execute(query, {"payer": payer})).scalar_one() for table, query in rows.items()}
        changed = {(table, name) for table in rows for name, old in before[table].items() if after[table][name] != old}
        assert {table for table, _ in changed} == set(rows)
        found = {(table, name) for table, name in (await db.execute(indexed, {"tables": list(rows)})).all()}
        assert {(table, "tenant_id") for table in rows} <= found
        assert not changed & found


async def test_released_call_costs_nothing(database: Database, payer: UUID) -> None:
    await grant(database, payer, 1000)
    first = call()
    await reserve(database, payer, first, 1, 400, enforced=True)
    assert await release(database, payer, first)
    assert not await release(database, payer, first)
    assert await stands(database, payer) == (1000, 0, 0, -1000)


async def test_more_than_there_is_is_refused(database: Database, payer: UUID) -> None:
    await grant(database, payer, 1000)
    assert await reserve(database, payer, call(), 1, 1001, enforced=True) == Reservation("credits", 1)
    assert await stands(database, payer) == (1000, 0, 0, -1000)


async def test_without_enforcement_the_platform_pays_what_is_missing(database: Database, payer: UUID) -> None:
    await grant(database, payer, 100)
    first = call()
    assert await reserve(database, payer, first, 1, 400, enforced=False) == Reservation("held")
    await settle(database, payer, first, 300)
    assert await stands(database, payer) == (0, 0, 300, -300)


async def test_next_attempt_takes_over_the_hold_of_its_call_and_frees_the_others(
    database: Database, payer: UUID
) -> None:
    await grant(database, payer, 1000)
    run = new_id()
    await reserve(database, payer, call(0, run, "a"), 1, 300, enforced=True)
    await reserve(database, payer, call(0, run, "b"), 1, 500, enforced=True)
    assert (await reserve(database, payer, call(0, run, "a"), 2, 300, enforced=True)).outcome == "held"
    assert await stands(database, payer) == (700, 300, 0, -1000)


async def test_what_is_held_outlives_its_lot(database: Database, payer: UUID) -> None:
    await grant(database, payer, 300, "short", expires_at=now() + timedelta(milliseconds=400))
    await grant(database, payer, 100, "long")
    first = call()
    await reserve(database, payer, first, 1, 120, enforced=True)
    async with database.transaction(payer) as db:
        await db.execute(
            text("UPDATE credit_grants SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL")
        )
        assert await LedgerRepository(db, payer).expire() == 180
    assert await stands(database, payer) == (100, 120, 0, -220)
    await settle(database, payer, first, 50)
    async with database.transaction(payer) as db:
        assert await LedgerRepository(db, payer).expire() == 70
    assert await stands(database, payer) == (100, 0, 50, -150)


async def test_refund_takes_what_is_left(database: Database, payer: UUID) -> None:
    await grant(database, payer, 100)
    first = call()
    await reserve(database, payer, first, 1, 60, enforced=True)
    async with database.transaction(payer) as db:
        ledger = LedgerRepository(db, payer)
        assert await ledger.take(Movement("refund:re_1", 100, "refund", reference="g")) == 40
        assert await ledger.take(Movement("refund:re_1", 100, "refund", reference="g")) is None
    assert await stands(database, payer) == (0, 60, 0, -60)


async def test_entries_stay_as_they_are(database: Database, payer: UUID) -> None:
    await grant(database, payer, 100)
    for change in ("UPDATE ledger_entries SET available = 0, outside = 0", "DELETE FROM ledger_entries"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.transaction(payer) as db:
                await db.execute(text(change))


async def test_credits_of_another_tenant_are_out_of_reach(database: Database, payer: UUID) -> None:
    await grant(database, payer, 1000)
    other = await add_tenant(database)
    async with database.transaction(other) as db:
        assert (await LedgerRepository(db, payer).account()).available == 0
        assert await LedgerRepository(db, payer).expire() == 0
    key = call()
    for change in ("grant", "take", "settle", "charge"):
        arguments: dict[str, tuple[object, ...]] = {
            "grant": (Movement("x", 1, "gift"),),
            "take": (Movement("x", 1, "refund"),),
            "settle": (key, Charge(1, "model")),
            "charge": ("x", Charge(1, "step")),
        }
        with pytest.raises((DBAPIError, PostgresError), match="row-level security"):
            async with database.transaction(other) as db:
                await getattr(LedgerRepository(db, payer), change)(*arguments[change])
    assert await stands(database, payer) == (1000, 0, 0, -1000)
