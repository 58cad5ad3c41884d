"""Many workers move the credits of one tenant at once: as many calls as the balance covers, to the last millionth."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository, Movement, release, reserve
from models.repositories.payments import PaymentRepository
from models.tables import Budget
from models.tables.base import new_id, now
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import Owned, add_execution, add_tenant

RUNS, CALLS, PRICE = 64, 2, 7
PROCESSES = 2

STANDS = """
SELECT a.available, a.held, a.spent, a.outside, a.number,
       (SELECT sum(remaining) FROM credit_grants)::bigint AS lots, (SELECT count(*) FROM credit_holds) AS holds,
       (SELECT count(DISTINCT e.number) FROM ledger_entries e WHERE e.number BETWEEN 1 AND a.number) AS entries,
       (SELECT count(*) FROM ledger_entries WHERE kind = 'settle') AS settled,
       (SELECT array_agg(spent ORDER BY id) FROM budgets) AS budgets_spent,
       (SELECT sum(held) FROM budgets)::bigint AS budgets_held, t.credits_balance AS shown
FROM credit_accounts a, tenants t
"""


async def payer(database: Database, amount: int) -> Owned:
    """A tenant with credits and a run."""
    run = await add_execution(database, await add_tenant(database))
    await grant(database, run.tenant_id, amount, "first")
    return run


async def grant(database: Database, tenant: UUID, amount: int, key: str) -> None:
    """As a payment comes in: whoever books one locks the tenant before the ledger locks the account."""
    async with database.transaction(tenant) as db:
        await PaymentRepository(db, tenant).lock()
        await LedgerRepository(db, tenant).grant(Movement(key, amount, "purchase", reference=key))


async def refund(database: Database, tenant: UUID, amount: int, key: str) -> None:
    async with database.transaction(tenant) as db:
        await PaymentRepository(db, tenant).lock()
        await LedgerRepository(db, tenant).take(Movement(f"refund:{key}", amount, "refund", reference=key))


async def calls_of_a_run(database: Database, run: Owned, number: int, *, patient: bool) -> Counter[str]:
    """What became of the calls of one of many runs; a patient one asks until it can pay."""
    became: Counter[str] = Counter()
    for call in range(CALLS):
        key = CallKey(StepKey(run.execution, 0, number), f"{call:064}", 0)
        while (held := await reserve(database, run.tenant_id, key, 1, PRICE, enforced=True)).outcome != "held":
            if not patient:
                became[held.outcome] += 1
                break
            await asyncio.sleep(0.02)
        else:
            if not patient and (number + call) % 5 == 0:
                await release(database, run.tenant_id, key)
                became["released"] += 1
                continue
            async with database.transaction(run.tenant_id) as db:
                # what is told twice is paid once
                for expected in (True, False):
                    settled = await LedgerRepository(db, run.tenant_id).settle(key, Charge(PRICE, "model", "m"))
                    assert settled == expected
            became["settled"] += 1
    return became


def in_a_process(url: str, runs: Sequence[Owned], numbers: Sequence[int], patient: bool) -> Counter[str]:
    """A worker of its own: these runs, all at once."""

    async def work() -> Counter[str]:
        database = database_at(url, pool_size=8)
        try:
            tasks = [calls_of_a_run(database, run, number, patient=patient) for run in runs for number in numbers]
            return sum(await asyncio.gather(*tasks), Counter())
        finally:
            await database.close()

    return asyncio.run(work())


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        yield pool


async def in_processes(pool: ProcessPoolExecutor, url: str, runs: Sequence[Owned], *, patient: bool) -> Counter[str]:
    loop = asyncio.get_running_loop()
    parts = [
        loop.run_in_executor(pool, in_a_process, url, runs, range(part, RUNS, PROCESSES), patient)
        for part in range(PROCESSES)
    ]
    return sum(await asyncio.gather(*parts), Counter())


async def limit(database: Database, run: Owned) -> list[UUID]:
    """Budgets of all scopes a run has, none of which is reached."""
    budgets = [
        Budget(
            tenant_id=run.tenant_id, scope=scope, scope_id=owner, period=period, amount=10**9, period_start=now().date()
        )
        for scope, owner, period in (
            ("tenant", None, "total"),
            ("tenant", None, "month"),
            ("workflow", run.workflow, "month"),
            ("execution", run.execution, "total"),
        )
    ]
    async with database.transaction(run.tenant_id) as db:
        db.add_all(budgets)
    return [budget.id for budget in budgets]


async def test_as_many_calls_as_the_balance_covers(postgres: PostgresServer, workers: ProcessPoolExecutor) -> None:
    """A balance for half of the calls and a bit, asked by 64 runs in several processes that never ask twice."""
    database = database_at(postgres.url)
    covered = RUNS * CALLS // 2
    amount = covered * PRICE + PRICE - 1
    run = await payer(database, amount)
    became = await in_processes(workers, postgres.url, [run], patient=False)
    stands = await database.row(run.tenant_id, STANDS)
    await database.close()
    assert stands is not None
    assert became.total() == RUNS * CALLS
    # money that was held and came back may have been refused to somebody meanwhile
    assert covered - became["released"] <= became["settled"] <= covered
    assert stands["settled"] == became["settled"]
    assert (stands["held"], stands["holds"]) == (0, 0)
    assert stands["spent"] == became["settled"] * PRICE
    assert stands["available"] == stands["lots"] == amount - stands["spent"]
    assert stands["outside"] == -amount
    assert stands["entries"] == stands["number"]


async def test_last_millionth(postgres: PostgresServer, workers: ProcessPoolExecutor) -> None:
    """Exactly enough, and not before payments have come in: all calls of two tenants are paid, and nothing is left.

    Meanwhile payments come and a part of each goes back, and budgets of several scopes are counted.
    """
    database = database_at(postgres.url)
    needed = RUNS * CALLS * PRICE
    runs = [await payer(database, 1) for _ in range(2)]
    for run in runs:
        await limit(database, run)

    async def pays(run: Owned) -> None:
        parts = 20
        for part in range(parts):
            due = needed * (part + 1) // parts - needed * part // parts
            await grant(database, run.tenant_id, due + 3, f"pi_{part}")
            await refund(database, run.tenant_id, 3, f"pi_{part}")
            async with database.transaction(run.tenant_id) as db:
                await db.execute(text("UPDATE budgets SET thresholds = '{1, 50}' WHERE scope = 'tenant'"))

    became, *_ = await asyncio.gather(
        in_processes(workers, postgres.url, runs, patient=True), *(pays(run) for run in runs)
    )
    assert became == {"settled": 2 * RUNS * CALLS}
    for run in runs:
        async with database.transaction(run.tenant_id) as db:
            taken: int = (
                await db.execute(text("SELECT sum(outside) FROM ledger_entries WHERE kind = 'refund'"))
            ).scalar_one()
        stands = await database.row(run.tenant_id, STANDS)
        assert stands is not None
        # a refund takes what is there: what calls had spent by then stays
        left = 1 + 20 * 3 - taken
        assert (stands["available"], stands["lots"], stands["held"], stands["holds"]) == (left, left, 0, 0)
        assert (stands["spent"], stands["settled"]) == (needed, RUNS * CALLS)
        assert stands["outside"] == -(needed + left)
        assert stands["entries"] == stands["number"]
        assert stands["budgets_spent"] == [needed] * 4
        assert stands["budgets_held"] == 0
        assert stands["shown"] == 0
    await database.close()


async def test_attempts_at_once_hold_once(postgres: PostgresServer) -> None:
    """Attempts of one call that are alive at the same time share a hold, whoever asks first."""
    database = database_at(postgres.url, pool_size=10)
    run = await payer(database, 1000)
    key = CallKey(StepKey(run.execution, 0, 0), "a" * 64, 0)
    held = await asyncio.gather(
        *(reserve(database, run.tenant_id, key, attempt, 400, enforced=True) for attempt in (3, 1, 2, 3, 1))
    )
    assert {one.outcome for one in held} == {"held"}
    assert not await release(database, run.tenant_id, key, attempt=2)
    stands = await database.row(run.tenant_id, STANDS)
    assert stands is not None
    assert (stands["held"], stands["holds"]) == (400, 1)
    await database.close()


async def test_payments_and_calls_do_not_wait_for_each_other_in_a_circle(postgres: PostgresServer) -> None:
    """A payment has locked its tenant when a call that has locked the account shows the tenant's new balance."""
    database = database_at(postgres.url)
    run = await payer(database, 5_000_000)
    key = CallKey(StepKey(run.execution, 0, 0), new_id().hex, 0)
    async with database.transaction(run.tenant_id) as paying:
        await PaymentRepository(paying, run.tenant_id).lock()
        async with asyncio.timeout(60), database.transaction(run.tenant_id) as calling:
            assert await LedgerRepository(calling, run.tenant_id).settle(key, Charge(2_000_000, "model", "m"))
        await LedgerRepository(paying, run.tenant_id).grant(Movement("second", 4_000_000, "purchase"))
    stands = await database.row(run.tenant_id, STANDS)
    await database.close()
    assert stands is not None
    assert (stands["available"], stands["shown"]) == (7_000_000, 7)
