"""What the ledger costs a call: reserve and settle, next to a bare transaction that moves a balance and notes it.

    .venv/bin/python -m benchmarks.ledger [--calls 2000] [--rounds 5]

A call reserves in one round trip and settles in a transaction of its own (in the platform that is the transaction that
journals the answer). The bare transaction is BEGIN, UPDATE of a balance, INSERT of an entry, COMMIT, through the same pool
and driver, on tables without a policy and with a primary key alone. Both are measured in turns, one call at a time and 64
at once, for one tenant (whose balance is one lock) and for many; then with four budgets that every call counts against.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from benchmarks.common import show
from models.database import APPLICATION_ROLE, Database
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository, Movement, reserve
from models.tables import Budget
from models.tables.base import new_id, now
from tests.support.database import database_at, running_postgres
from tests.support.tenants import Owned, add_execution, add_tenant

BARE = f"""
CREATE TABLE bare_balances (tenant_id uuid PRIMARY KEY, amount bigint NOT NULL);
CREATE TABLE bare_entries (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, amount bigint NOT NULL, note text NOT NULL);
GRANT SELECT, INSERT, UPDATE ON bare_balances, bare_entries TO {APPLICATION_ROLE}
"""
_TAKE = text("UPDATE bare_balances SET amount = amount - 1 WHERE tenant_id = :tenant")
_NOTE = text("INSERT INTO bare_entries VALUES (:id, :tenant, -1, 'call')")

Call = Callable[[Owned], Awaitable[None]]
_numbers = itertools.count()


async def payer(database: Database) -> Owned:
    """A tenant with credits for more than is measured, a run, and a bare balance."""
    tenant = await add_tenant(database)
    run = await add_execution(database, tenant)
    async with database.transaction(tenant) as db:
        await LedgerRepository(db, tenant).grant(Movement("all", 10**15, "purchase"))
        await db.execute(text("INSERT INTO bare_balances VALUES (:tenant, 0)"), {"tenant": tenant})
    return run


async def limit(database: Database, run: Owned) -> None:
    """Four budgets, none of which is ever reached: the tenant's, in all and in a month, the workflow's, the run's."""
    scopes: list[tuple[str, UUID | None, str]] = [
        ("tenant", None, "total"),
        ("tenant", None, "month"),
        ("workflow", run.workflow, "total"),
        ("execution", run.execution, "total"),
    ]
    async with database.transaction(run.tenant_id) as db:
        for scope, scope_id, period in scopes:
            values = {"scope": scope, "scope_id": scope_id, "period": period, "amount": 10**15}
            db.add(Budget(tenant_id=run.tenant_id, period_start=now().date().replace(day=1), **values))


def of_ledger(database: Database) -> Call:
    async def call(run: Owned) -> None:
        number = next(_numbers)
        key = CallKey(StepKey(run.execution, 0, number % 100), f"{number:064}", 0)
        held = await reserve(database, run.tenant_id, key, 1, 1000, enforced=True)
        assert held.outcome == "held"
        async with database.transaction(run.tenant_id) as db:
            used = Charge(600, "model", "test-model", "step", 1, 1200, 0, 300)
            assert await LedgerRepository(db, run.tenant_id).settle(key, used)

    return call


def of_bare_tables(database: Database) -> Call:
    async def call(run: Owned) -> None:
        async with database.transaction(run.tenant_id) as db:
            await db.execute(_TAKE, {"tenant": run.tenant_id})
            await db.execute(_NOTE, {"id": new_id(), "tenant": run.tenant_id})

    return call


async def lasts(call: Call, runs: Sequence[Owned], calls: int, at_once: int) -> float:
    """Seconds per call, with so many of them under way at any time."""
    left = iter(range(calls))

    async def work() -> None:
        for number in left:
            await call(runs[number % len(runs)])

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return (time.perf_counter() - began) / calls


async def compared(database: Database, runs: Sequence[Owned], calls: int, at_once: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per call of both, medians of rounds that take turns, so that both see the same machine."""
    ledger, bare = of_ledger(database), of_bare_tables(database)
    measured: dict[Call, list[float]] = {ledger: [], bare: []}
    for number in range(rounds + 1):
        for call, times in measured.items():
            taken = await lasts(call, runs, calls, at_once)
            # the first round opens connections and makes plans
            times += [taken] if number else []
    ours, theirs = (statistics.median(times) * 1000 for times in measured.values())
    return {"ledger_ms": round(ours, 3), "bare_ms": round(theirs, 3), "ratio": round(ours / theirs, 2)}


async def measure(url: str, calls: int, rounds: int, tenants: int) -> dict[str, Any]:
    database = database_at(url, pool_size=32)
    try:
        async with database.engine.connect() as owner:
            for statement in BARE.split(";"):
                await owner.execute(text(statement))
        many = [await payer(database) for _ in range(tenants)]
        limited = await payer(database)
        await limit(database, limited)
        cases = {
            "one call at a time": (many[:1], calls // 4, 1),
            "64 at once, one tenant": (many[:1], calls, 64),
            f"64 at once, {tenants} tenants": (many, calls, 64),
            "64 at once, one tenant, four budgets": ([limited], calls, 64),
        }
        return {name: await compared(database, *case, rounds) for name, case in cases.items()}
    finally:
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tenants", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="omium-benchmark-") as folder, running_postgres(Path(folder)) as server:
        result = asyncio.run(measure(server.url, options.calls, options.rounds, options.tenants))
    show({"benchmark": "ledger", "calls": options.calls, **result, "bars": {"ratio": "<= 2"}})


if __name__ == "__main__":
    main()
