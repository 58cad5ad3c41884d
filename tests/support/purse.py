"""A tenant of its own with credits, prices and budgets, for tests that call through the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models.repositories.ledger import LedgerRepository, Movement
from models.repositories.prices import add_price
from models.tables import Budget, CreditHold, LedgerEntry, Price
from models.tables.base import new_id, now
from tests.support.database import Rows
from tests.support.tenants import add_tenant

#: Millionths of a credit for a token of the model whose price `price_model` sets.
INPUT, OUTPUT = 3, 7


class Purse:
    """A tenant of its own, with its credits and its prices."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def grant(self, micro: int) -> None:
        tenant = self.rows.tenant_id
        self.rows.run(lambda db: LedgerRepository(db, tenant).grant(Movement(str(new_id()), micro, "purchase")))

    def price(self, kind: str, name: str, **price: Any) -> UUID:
        async def work() -> UUID:
            async with self.rows.database.system() as db:
                row = Price(tenant_id=self.rows.tenant_id, kind=kind, name=name, **price)
                return (await add_price(db, row)).id

        return self.rows.wait(work())

    def price_model(self, name: str = "m", factor: int = 1) -> UUID:
        return self.price("model", name, input_per_1m=INPUT * factor, output_per_1m=OUTPUT * factor)

    def limit(self, micro: int) -> UUID:
        budget = Budget(tenant_id=self.rows.tenant_id, scope="tenant", amount=micro, period_start=now().date())

        async def work(db: Any) -> UUID:
            db.add(budget)
            await db.flush()
            return budget.id

        return self.rows.run(work)

    @property
    def stands(self) -> tuple[int, int, int]:
        """Available, held, spent."""
        account = self.rows.run(lambda db: LedgerRepository(db, self.rows.tenant_id).account())
        return account.available, account.held, account.spent

    @property
    def entries(self) -> list[LedgerEntry]:
        async def work(db: Any) -> list[LedgerEntry]:
            return list((await db.execute(select(LedgerEntry).order_by(col(LedgerEntry.number)))).scalars())

        return self.rows.run(work)

    @property
    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]

    @property
    def holds(self) -> list[CreditHold]:
        async def work(db: Any) -> list[CreditHold]:
            return list((await db.execute(select(CreditHold))).scalars())

        return self.rows.run(work)

    @property
    def settled(self) -> LedgerEntry:
        (entry,) = (entry for entry in self.entries if entry.kind == "settle")
        return entry


@contextmanager
def new_purse(url: str) -> Iterator[Purse]:
    """A new tenant; `rows` of it make executions of this tenant."""
    rows = Rows(url)
    try:
        rows.tenant_id = rows.wait(add_tenant(rows.database))
        yield Purse(rows)
    finally:
        rows.close()
