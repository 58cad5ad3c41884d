"""`omium billing rebuild`: what the tables say is what follows from the entries, and where it is not, it is found."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from models.database import Database
from models.ledger_rebuild import Rebuilt, rebuild
from models.ledger_replay import Books
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository, Movement, release, reserve
from models.tables import Budget
from models.tables.base import new_id, now
from tests.billing.conftest import Payer
from tests.isolation.rows import superuser
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import add_tenant


async def busy(payer: Payer) -> UUID:
    """A tenant to which everything happened that can happen. The id of a hold that is open."""
    await payer.add(Budget(tenant_id=payer.tenant, scope="tenant", amount=10**12, period_start=now().date()))
    await payer.grant(100, "purchase", "one")
    await payer.grant(5, "gift", expires_at=now() + timedelta(days=30))
    await payer.grant(3, "purchase", priority=7)
    run = await payer.run()
    for cost in (1_500_001, 700_000, 0):
        await payer.call(run, 0, cost, held=2_000_000)
    released, open_ = (CallKey(StepKey(run.execution, 0, 1), letter * 64, 0) for letter in "ab")
    for key in (released, open_):
        await reserve(payer.database, payer.tenant, key, 1, 3_000_000, enforced=True)
    await release(payer.database, payer.tenant, released)
    await payer.grant(1, "plan", expires_at=now())
    async with payer.database.transaction(payer.tenant) as db:
        ledger = LedgerRepository(db, payer.tenant)
        await ledger.take(Movement("r", 10_000_000, "refund", reference="one"))
        await ledger.charge("storage:1", Charge(12, "storage"))
    found: UUID = (await payer.execute(text("SELECT id FROM credit_holds"))).scalar_one()
    return found


def told(found: Rebuilt) -> list[tuple[str, int | str, int | str]]:
    return [(each.what, each.expected, each.found) for each in found.differences]


async def test_books_of_a_busy_tenant_add_up(payer: Payer) -> None:
    await busy(payer)
    found = await rebuild(payer.database, payer.tenant)
    books = found.books
    assert told(found) == []
    assert (books.held, len(books.holds), books.spent) == (3_000_000, 1, 2_200_013)
    assert books.available + books.held + books.spent + books.outside == 0
    assert sum(lot.remaining for lot in books.lots.values()) == books.available + books.held


async def test_tenant_without_entries_has_empty_books(payer: Payer) -> None:
    found = await rebuild(payer.database, payer.tenant, write=True)
    assert (told(found), found.books.number, found.repaired) == ([], 0, False)


DAMAGES = {
    "UPDATE credit_accounts SET available = available + 5, outside = outside - 5": {
        "account: available",
        "account: outside",
    },
    "UPDATE credit_accounts SET number = number + 1": {"account: number"},
    "UPDATE credit_grants SET remaining = remaining - 7 WHERE priority = 30": {"lot"},
    "DELETE FROM credit_grants WHERE source = 'gift'": {"lot"},
    "UPDATE credit_grants SET priority = 1, expires_at = NULL WHERE source = 'gift'": {"lot"},
    "DELETE FROM credit_holds": {"hold", "budget"},
    "UPDATE credit_holds SET amount = amount - 1": {"hold"},
    "INSERT INTO credit_grants SELECT credit_id(), tenant_id, 'gift', NULL, 1, 9, 9, NULL, now() FROM credit_accounts": {
        "lot"
    },
    "UPDATE budgets SET spent = spent - 1, held = held + 1": {"budget"},
    "UPDATE tenants SET credits_balance = credits_balance + 1": {"tenant: credits_balance"},
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_difference_is_named_and_repaired(payer: Payer, damage: str) -> None:
    await busy(payer)
    before = await state(payer)
    changed = await payer.execute(text(damage))
    assert changed.rowcount == 1
    found = await rebuild(payer.database, payer.tenant)
    whats = {what for what, _, _ in told(found)}
    assert whats
    assert all(any(what.startswith(expected) for expected in DAMAGES[damage]) for what in whats), whats
    assert not found.repaired
    assert (await rebuild(payer.database, payer.tenant, write=True)).repaired
    assert told(await rebuild(payer.database, payer.tenant)) == []
    if "credit_holds" not in damage:
        assert await state(payer) == before


async def state(payer: Payer) -> list[Any]:
    names = (
        "available, held, spent, outside, number",
        "id, amount, remaining, priority, expires_at, source, reference",
        "id, amount",
        "spent, held",
    )
    tables = ("credit_accounts", "credit_grants", "credit_holds", "budgets")
    found = []
    for columns, table in zip(names, tables, strict=True):
        rows = await payer.execute(text(f"SELECT {columns} FROM {table} ORDER BY 1"))
        found.append(rows.all())
    return found


async def test_what_the_journal_says_of_a_call_must_be_what_it_did_cost(payer: Payer) -> None:
    await busy(payer)
    await payer.execute(text("UPDATE call_journal SET cost = cost + 3 WHERE cost = 700000"))
    found = await rebuild(payer.database, payer.tenant, write=True)
    assert [(expected, value) for _, expected, value in told(found)] == [(700_000, 700_003)]
    assert "journaled cost" in told(found)[0][0]
    assert not found.differences[0].repairable


async def test_tables_do_not_follow_entries_that_are_wrong(payer: Payer, postgres: PostgresServer) -> None:
    """The first credits that came in are gone from the ledger: what was paid from them would be more than there was."""
    await payer.grant(100)
    await payer.call(await payer.run(), 0, 50_000_000)
    gone = text("DELETE FROM ledger_entries WHERE kind = 'grant' AND tenant_id = :tenant")
    # nobody but the owner of the tables can do that
    async with superuser(postgres.url) as engine, engine.begin() as owner:
        assert (await owner.execute(gone, {"tenant": payer.tenant})).rowcount == 1
    before = await state(payer)
    found = await rebuild(payer.database, payer.tenant, write=True)
    assert [each for each in found.differences if "available is below zero" in each.what]
    assert not found.repaired
    assert await state(payer) == before


class Line:
    """An entry of a ledger that nobody's functions wrote."""

    def __init__(self, number: int, kind: str, available: int, outside: int, **more: Any) -> None:
        self.number, self.kind, self.available, self.outside = number, kind, available, outside
        self.held = self.spent = self.unpaid = 0
        self.balance_after, self.grant_id, self.hold_id = available, new_id(), None
        self.source, self.reference, self.created_at = None, None, now()
        self.metadata: dict[str, Any] = {}
        vars(self).update(more)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (Line(2, "grant", 5, -5), "numbers have a gap before"),
        (Line(1, "grant", 5, -4), "legs do not sum to zero in"),
        (Line(1, "grant", 5, -5, balance_after=6), "balance is wrong after"),
        (Line(1, "adjust", -5, 5), "available is below zero after"),
        (Line(1, "wonder", 0, 0), "kind 'wonder' is not known of"),
        (Line(1, "expire", -5, 5), "more expires than the lot had left in"),
        (
            Line(1, "release", 5, 0, held=-5, balance_after=0, hold_id=new_id()),
            "another amount was held than is closed by",
        ),
    ],
)
def test_entry_that_cannot_be_is_found(line: Any, wrong: str) -> None:
    books = Books()
    books.add(line)
    assert wrong in [fault.what for fault in books.faults]


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["grant", "short", "reserve", "settle", "release", "refund", "expire", "charge"]),
        st.integers(1, 900),
        st.integers(0, 3),
    ),
    max_size=25,
)


@given(MOVES, st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_movements_can_be_replayed(
    postgres: PostgresServer, moves: list[tuple[str, int, int]], enforced: bool
) -> None:
    import asyncio

    asyncio.run(play(postgres.url, moves, enforced))


async def play(url: str, moves: list[tuple[str, int, int]], enforced: bool) -> None:
    database = database_at(url, pool_size=1)
    try:
        tenant = await add_tenant(database)
        for place, (kind, amount, which) in enumerate(moves):
            await move(database, tenant, place, kind, amount, which, enforced)
        found = await rebuild(database, tenant)
        assert told(found) == []
        assert (await rebuild(database, tenant, write=True)).repaired is False
    finally:
        await database.close()


async def move(
    database: Database, tenant: UUID, place: int, kind: str, amount: int, which: int, enforced: bool
) -> None:
    call = CallKey(StepKey(tenant, 0, which), "h", 0)
    if kind == "reserve":
        await reserve(database, tenant, call, 1, amount, enforced=enforced)
        return
    if kind == "release":
        await release(database, tenant, call)
        return
    async with database.transaction(tenant) as db:
        ledger = LedgerRepository(db, tenant)
        source = ("purchase", "gift", "plan", "manual")[which]
        match kind:
            case "grant":
                await ledger.grant(Movement(f"g{place}", amount, source, reference=f"ref{which}"))
            case "short":
                at = now() + timedelta(milliseconds=20 * which)
                await ledger.grant(Movement(f"g{place}", amount, source), expires_at=at)
            case "settle":
                await ledger.settle(call, Charge(amount, "model", "m"))
            case "charge":
                await ledger.charge(f"c{place}", Charge(amount, "step"))
            case "refund":
                await ledger.take(Movement(f"r{place}", amount, "refund", reference=f"ref{which}"))
            case "expire":
                await ledger.expire()
