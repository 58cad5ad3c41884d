"""Whatever happens to the ledger in whatever order, it comes to what a naive model says, and the books are right."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from models import pricing
from models.database import Database
from models.pricing import Rate, Used
from models.repositories import ledger, limits
from models.repositories.budgets import BudgetRepository
from models.repositories.ledger import PRIORITIES, CallKey, Charge, LedgerRepository, Movement, release, reserve
from models.tables import Budget
from models.tables.base import new_id
from tests.billing.oracle import Key, Limit, Lot, month
from tests.billing.tenancy import STANDS, Tenancy, assert_replayed, call_of, new_tenancy
from tests.support.database import PostgresServer, database_at

T = TypeVar("T")

BEGIN = datetime(2026, 1, 29, 9, tzinfo=UTC)
TENANTS, STEPS, REQUESTS = 2, 2, ("a" * 64, "b" * 64)
SOURCES = ("plan", "gift", "purchase")
#: Hours until a lot is over.
ENDS = (None, None, 1, 30, 1000)
#: Three runs with a tenant's budgets each: of a workflow and an API key, of another workflow, and a fork of the first.
RUNS = 3

calls = st.tuples(
    st.integers(0, RUNS - 1),
    st.sampled_from([0, 0, 0, 1]),
    st.integers(0, STEPS - 1),
    st.sampled_from(REQUESTS),
    st.just(0),
)
tenants = st.integers(0, TENANTS - 1)
amounts = st.integers(1, 4000)
enforcement = st.sampled_from([True, True, False])
tokens = st.tuples(st.integers(0, 300), st.integers(0, 300))


class Money(RuleBasedStateMachine):
    """Two tenants whose credits come, are held, spent, released, given back and over, while months and prices change."""

    database: Database
    runner: asyncio.Runner
    clock: datetime

    def __init__(self) -> None:
        super().__init__()
        type(self).clock = BEGIN
        self.rate = Rate(Decimal(1), Decimal(2))
        self.all: list[Tenancy] = []

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def tenants_come(self) -> None:
        """With credits for some calls, and a budget for fewer."""
        self.all = [self.wait(new_tenancy(self.database)) for _ in range(TENANTS)]
        for which in range(TENANTS):
            self.grant(which, 0, 4000, "purchase", None)
            self.grant(which, 1, 5000, "plan", 30)
            self.limit(self.all[which], "tenant", None, True, 6000)

    def call(self, books: Tenancy, place: tuple[int, int, int, str, int]) -> tuple[Key, CallKey]:
        run, back, step, request, occurrence = place
        return call_of(Key(books.runs[run], max(0, books.lineages[run] - back), step, request, occurrence))

    # Calls

    def asks(
        self, books: Tenancy, key: Key, call: CallKey, attempt: int, most: tuple[int, int], *, enforced: bool
    ) -> None:
        amount = pricing.most(self.rate, input_tokens=most[0], output_tokens=most[1])
        expected = books.model.reserve(key, attempt, amount, enforced=enforced, at=self.clock)
        found = self.wait(reserve(self.database, books.tenant, call, attempt, amount, enforced=enforced))
        assert (found.outcome, found.missing) == expected
        self.check(books)

    @rule(
        which=tenants,
        places=st.lists(calls, min_size=1, max_size=4),
        attempt=st.integers(1, 3),
        most=tokens,
        enforced=enforcement,
    )
    def reserve(
        self,
        which: int,
        places: list[tuple[int, int, int, str, int]],
        attempt: int,
        most: tuple[int, int],
        enforced: bool,
    ) -> None:
        books = self.all[which]
        for place in places:
            self.asks(books, *self.call(books, place), attempt, most, enforced=enforced)

    def settles(self, books: Tenancy, key: Key, call: CallKey, used: tuple[int, int]) -> None:
        cost = pricing.cost(self.rate, Used(used[0], 0, used[1]))
        expected = books.model.settle(key, key.run, cost, self.clock)
        assert self.wait(self.moved(books, lambda its: its.settle(call, Charge(cost, "model", "m")))) == expected
        self.check(books)

    @rule(which=tenants, place=calls, used=tokens)
    def settle_late_or_again(self, which: int, place: tuple[int, int, int, str, int], used: tuple[int, int]) -> None:
        self.settles(self.all[which], *self.call(self.all[which], place), used)

    def releases(self, books: Tenancy, key: Key, call: CallKey, attempt: int | None) -> None:
        expected = books.model.release(key, attempt, self.clock)
        assert self.wait(release(self.database, books.tenant, call, attempt=attempt)) == expected
        self.check(books)

    @precondition(lambda self: any(books.model.holds for books in self.all))
    @rule(data=st.data(), used=tokens, enforced=enforcement)
    def call_goes_on(self, data: st.DataObject, used: tuple[int, int], enforced: bool) -> None:
        """A call under way is answered, or comes to nothing, or its step asks for the same or another one."""
        books = data.draw(st.sampled_from([books for books in self.all if books.model.holds]))
        key, call = call_of(data.draw(st.sampled_from(list(books.model.holds))))
        attempt = books.model.holds[key].attempt
        match data.draw(st.sampled_from(["settle", "release", "overtaken", "again"])):
            case "settle":
                self.settles(books, key, call, used)
            case "release":
                self.releases(books, key, call, data.draw(st.sampled_from([None, attempt])))
            case "overtaken":
                self.releases(books, key, call, attempt - 1)
            case _:
                asked = call_of(key._replace(request=data.draw(st.sampled_from(REQUESTS))))
                later = max(1, attempt + data.draw(st.integers(-1, 1)))
                self.asks(books, *asked, later, used, enforced=enforced)

    @rule(which=tenants, place=calls)
    def release_again(self, which: int, place: tuple[int, int, int, str, int]) -> None:
        self.releases(self.all[which], *self.call(self.all[which], place), None)

    @rule(which=tenants, run=st.integers(0, RUNS - 1), step=st.integers(0, 2), cost=amounts)
    def step_pays(self, which: int, run: int, step: int, cost: int) -> None:
        books = self.all[which]
        key, of = f"step:{run}/{step}", books.runs[run]
        expected = books.model.settle(key, of, cost, self.clock)
        assert self.wait(self.moved(books, lambda its: its.charge(key, Charge(cost, "step"), of.id))) == expected
        self.check(books)

    @rule(which=tenants, run=st.integers(0, RUNS - 1))
    def roll_back(self, which: int, run: int) -> None:
        self.all[which].lineages[run] += 1

    # Money that comes and goes

    @rule(
        which=tenants,
        number=st.integers(0, 20),
        amount=amounts,
        source=st.sampled_from(SOURCES),
        hours=st.sampled_from(ENDS),
        priority=st.sampled_from([None, None, 5, 50]),
    )
    def grant(
        self, which: int, number: int, amount: int, source: str, hours: int | None, priority: int | None = None
    ) -> None:
        books = self.all[which]
        ends = None if hours is None else self.clock + timedelta(hours=hours)
        moved = Movement(f"grant:{number}", amount, source, reference=f"pi_{number}")
        lot = Lot(source, moved.reference, PRIORITIES[source] if priority is None else priority, ends, amount)
        expected = books.model.grant(moved.key, lot)
        assert (
            self.wait(self.moved(books, lambda its: its.grant(moved, expires_at=ends, priority=priority))) == expected
        )
        self.check(books)

    @rule(
        which=tenants,
        number=st.integers(0, 20),
        amount=amounts,
        why=st.sampled_from([("refund", "refund"), ("refund", "dispute"), ("adjust", "manual")]),
    )
    def take(self, which: int, number: int, amount: int, why: tuple[str, str]) -> None:
        books, (kind, source) = self.all[which], why
        moved = Movement(f"{source}:{number}", amount, source, reference=f"pi_{number}")
        expected = books.model.take(moved.key, kind, amount, moved.reference, self.clock)
        assert self.wait(self.moved(books, lambda its: its.take(moved, kind=kind))) == expected
        self.check(books)

    @rule(which=tenants)
    def sweep(self, which: int) -> None:
        books = self.all[which]
        expected = books.model.expire(self.clock)
        assert self.wait(self.moved(books, lambda its: its.expire())) == expected
        self.check(books)

    # What is agreed on

    @rule(which=tenants, data=st.data(), monthly=st.booleans(), amount=st.sampled_from([0, 500, 3000, 9000, 9000]))
    def set_budget(self, which: int, data: st.DataObject, monthly: bool, amount: int) -> None:
        """A new one; or another amount for the one that is there."""
        books = self.all[which]
        first, second, fork = books.runs
        scope, owner = data.draw(
            st.sampled_from(
                [
                    ("tenant", None),
                    ("workflow", first.workflow),
                    ("workflow", second.workflow),
                    ("api_key", first.api_key),
                    ("execution", first.id),
                    ("execution", fork.id),
                ]
            )
        )
        self.limit(books, scope, owner, monthly, amount)

    def limit(self, books: Tenancy, scope: str, owner: UUID | None, monthly: bool, amount: int) -> None:
        for limit in books.model.limits:
            if (limit.scope, limit.scope_id, limit.monthly) == (scope, owner, monthly):
                limit.amount = amount
                self.wait(self.budgeted(books, limit, text("UPDATE budgets SET amount = :amount WHERE id = :id")))
                break
        else:
            limit = Limit(new_id(), scope, owner, monthly, amount, month(self.clock))
            books.model.limit(limit, self.clock)
            self.wait(self.budgeted(books, limit, None))
        self.check(books)

    @rule(which=tenants, number=st.integers(0, 5))
    def drop_budget(self, which: int, number: int) -> None:
        books = self.all[which]
        if number < len(books.model.limits):
            limit = books.model.limits.pop(number)
            self.wait(self.budgeted(books, limit, text("DELETE FROM budgets WHERE id = :id AND amount = :amount")))
            self.check(books)

    @rule(hours=st.sampled_from([1, 31, 31, 24 * 32]))
    def time_passes(self, hours: int) -> None:
        type(self).clock += timedelta(hours=hours)

    @rule(per_input=st.sampled_from(["0.5", "1", "3.333333", "9"]), per_call=st.sampled_from(["0", "0.0000125"]))
    def prices_change(self, per_input: str, per_call: str) -> None:
        self.rate = Rate(Decimal(per_input), Decimal(per_input) * 2, None, Decimal(per_call))

    # What must hold

    async def moved(self, books: Tenancy, work: Any) -> Any:
        async with self.database.transaction(books.tenant) as db:
            return await work(LedgerRepository(db, books.tenant))

    async def budgeted(self, books: Tenancy, limit: Limit, change: Any) -> None:
        async with self.database.transaction(books.tenant) as db:
            budgets = BudgetRepository(db, books.tenant)
            await budgets.lock()
            if change is not None:
                await db.execute(change, {"id": limit.id, "amount": limit.amount})
                return
            period = "month" if limit.monthly else "total"
            await budgets.add(
                Budget(
                    id=limit.id,
                    tenant_id=books.tenant,
                    scope=limit.scope,
                    scope_id=limit.scope_id,
                    period=period,
                    amount=limit.amount,
                    spent=await budgets.spent_before(limit.scope, limit.scope_id, period),
                    period_start=self.clock.date().replace(day=1),
                )
            )

    def check(self, books: Tenancy) -> None:
        row = self.wait(self.database.row(books.tenant, STANDS, books.seen))
        assert row is not None
        found, model = json.loads(row[0]), books.model
        available, held, spent, outside, number = found["account"] or [0, 0, 0, 0, 0]
        assert (available, held, spent, outside) == (model.available, model.held, model.spent, model.outside)
        assert available + held + spent + outside == 0
        assert available >= 0
        assert held >= 0
        # numbers have no gap, and each entry is one that the model expected; holds of one step go in any order
        entries = found["entries"] or []
        assert [entry[0] for entry in entries] == list(range(books.seen + 1, number + 1))
        assert Counter(tuple(entry[1:7]) for entry in entries) == Counter(model.entries[books.seen :])
        assert all(sum(entry[2:6]) == 0 for entry in entries)
        assert not entries or entries[-1][7] == available + held
        books.seen = number
        assert (found["lots"] or []) == [lot.remaining for lot in model.lots]
        assert sum(found["lots"] or []) == available + held
        assert found["shown"] == (available + held) // 1_000_000
        assert {tuple(hold) for hold in found["holds"] or []} == {
            (str(key.run.id), *key[1:], hold.attempt, hold.amount, hold.budgeted) for key, hold in model.holds.items()
        }
        assert sum(hold.amount for hold in model.holds.values()) == held
        for limit in model.limits:
            spent_of_it, held_of_it, counted_in = (found["budgets"] or {})[str(limit.id)]
            assert (spent_of_it, held_of_it) == (limit.spent, limit.held)
            assert not limit.monthly or counted_in == limit.month
        assert len(found["budgets"] or {}) == len(model.limits)
        came = -sum(entry[4] for entry in model.entries if entry[0] == "grant")
        gone = sum(entry[4] for entry in model.entries if entry[0] in ("refund", "adjust", "expire"))
        captured = sum(entry[3] - entry[5] for entry in model.entries if entry[0] == "settle")
        assert captured + held <= came - gone

    def teardown(self) -> None:
        """From the entries alone everything beside them can be told again."""
        for books in self.all:
            self.check(books)
            self.wait(assert_replayed(self.database, books))


def _run(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, examples: int, steps: int) -> None:
    class OnServer(Money):
        pass

    with asyncio.Runner() as runner:
        OnServer.runner, OnServer.database = runner, database_at(postgres.url, pool_size=2)
        for module in (ledger, limits):
            monkeypatch.setattr(module, "now", lambda: OnServer.clock)
        try:
            how = settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            run_state_machine_as_test(OnServer, settings=how)
        finally:
            runner.run(OnServer.database.close())


def test_ledger_is_what_the_model_says(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(postgres, monkeypatch, 8, 40)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_ledger_is_what_the_model_says_at_length(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(postgres, monkeypatch, 400, 80)
