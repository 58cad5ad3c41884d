"""Recomputes from the entries of a tenant's ledger what the tables beside it say, compares both, and can repair the tables.

One snapshot is compared, so calls go on meanwhile. A repair holds the tenant's account: its calls wait until it is done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.ledger_replay import Books, Terms
from models.tables import Budget, CreditAccount, CreditGrant, CreditHold, LedgerEntry, Tenant
from models.tables.base import now
from omium_core.credits import MICRO

#: Entries that are read at once.
_BATCH = 5000
_LEGS = ("available", "held", "spent", "outside", "number")

_BUDGETS = text("""
SELECT b.id, b.spent, b.held,
       coalesce((
           SELECT sum(l.spent) FROM ledger_entries l
           WHERE l.tenant_id = b.tenant_id AND l.kind = 'settle'
             AND (b.period = 'total' OR l.created_at >= b.period_start::date::timestamp AT TIME ZONE 'UTC')
             AND CASE b.scope
                 WHEN 'tenant' THEN true
                 WHEN 'workflow' THEN l.workflow_id = b.scope_id
                 WHEN 'api_key' THEN l.api_key_id = b.scope_id
                 ELSE l.root_id = b.scope_id OR l.execution_id = b.scope_id END
       ), 0)::bigint AS charged,
       coalesce((
           SELECT sum(h.budgeted) FROM credit_holds h WHERE h.tenant_id = b.tenant_id AND b.id = ANY (h.budgets)
       ), 0)::bigint AS reserved
FROM budgets b WHERE b.tenant_id = :tenant ORDER BY b.id
""")
_SUMS = text("""
SELECT (SELECT coalesce(sum(amount), 0) FROM transactions WHERE tenant_id = :tenant)::bigint AS moved,
       (SELECT coalesce(sum(credits_used), 0) FROM credit_usage WHERE tenant_id = :tenant)::bigint AS used
""")
#: Answers whose price is not what was charged; those of runs from before there was a ledger were charged to nobody.
_JOURNAL = text("""
SELECT j.execution_id, j.lineage, j.step_index, j.request_hash, j.occurrence, j.cost, coalesce(l.spent, 0) AS charged
FROM call_journal j LEFT JOIN ledger_entries l
    ON l.tenant_id = j.tenant_id AND l.kind = 'settle' AND l.execution_id = j.execution_id AND l.lineage = j.lineage
    AND l.step_index = j.step_index AND l.request_hash = j.request_hash AND l.occurrence = j.occurrence
WHERE j.tenant_id = :tenant AND j.cost <> coalesce(l.spent, 0)
  AND j.execution_id IN (SELECT execution_id FROM ledger_entries WHERE tenant_id = :tenant AND kind = 'settle')
ORDER BY j.id LIMIT 100
""")


@dataclass(frozen=True)
class Difference:
    """What a table says (`found`) and what follows from the entries (`expected`): numbers in millionths of a credit, else text.

    What is wrong with the entries themselves, or with the journal, is not `repairable`: nothing says what is right.
    """

    what: str
    expected: int | str
    found: int | str
    repairable: bool = True


@dataclass
class Rebuilt:
    """The books of a tenant, and where its tables differ from them."""

    tenant_id: UUID
    books: Books
    differences: list[Difference] = field(default_factory=list)
    repaired: bool = False


async def rebuild(database: Database, tenant_id: UUID, *, write: bool = False) -> Rebuilt:
    """With `write`, tables that differ say afterwards what follows from the entries, if these are without a fault."""
    async with database.transaction(tenant_id) as db:
        if write:
            await db.execute(text("SELECT credit_lock(:tenant)"), {"tenant": tenant_id})
        else:
            await db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        lots: Sequence[CreditGrant] = (await db.execute(_of(CreditGrant, tenant_id))).scalars().all()
        books = Books()
        async for entries in _entries(db, tenant_id):
            for entry in entries:
                books.add(entry)
        found = Rebuilt(tenant_id, books)
        found.differences += [
            Difference(f"entry {fault.number}: {fault.what} it", fault.expected, fault.found, repairable=False)
            for fault in books.faults
        ]
        await _compare(db, tenant_id, lots, found)
        # the tables must not follow entries that cannot be right
        if write and not books.faults and any(difference.repairable for difference in found.differences):
            await _repair(db, tenant_id, lots, books)
            found.repaired = True
    return found


async def _entries(db: AsyncSession, tenant_id: UUID) -> AsyncIterator[Sequence[Row[Any]]]:
    names = (
        *("number", "kind", "available", "held", "spent", "outside", "unpaid", "balance_after", "grant_id", "hold_id"),
        *("reference", "source", "created_at", "metadata", "execution_id", "lineage", "step_index", "request_hash"),
        *("occurrence", "attempt"),
    )
    columns = LedgerEntry.__table__.c  # type: ignore[attr-defined]
    query = select(*(columns[name] for name in names)).where(columns.tenant_id == tenant_id)
    last = -1
    while True:
        page = query.where(columns.number > last).order_by(columns.number).limit(_BATCH)
        rows = (await db.execute(page)).all()
        if not rows:
            return
        yield rows
        last = rows[-1].number


async def _compare(db: AsyncSession, tenant_id: UUID, lots: Sequence[CreditGrant], found: Rebuilt) -> None:
    books, differences = found.books, found.differences

    def compare(what: str, expected: int | str, value: int | str, *, repairable: bool = True) -> None:
        if expected != value:
            differences.append(Difference(what, expected, value, repairable))

    account = (await db.execute(_of(CreditAccount, tenant_id))).scalar_one_or_none()
    for name in _LEGS:
        compare(f"account: {name}", getattr(books, name), 0 if account is None else getattr(account, name))
    balance = select(col(Tenant.credits_balance)).where(col(Tenant.id) == tenant_id)
    shown: int = (await db.execute(balance)).scalar_one()
    compare("tenant: credits_balance", (books.available + books.held) // MICRO * MICRO, shown * MICRO)
    rows = {lot.id: lot for lot in lots}
    for lot_id in sorted(rows.keys() | books.lots.keys()):
        row, lot = rows.get(lot_id), books.lots.get(lot_id)
        for name in ("amount", "remaining"):
            expected = 0 if lot is None else getattr(lot, name)
            compare(f"lot {lot_id}: {name}", expected, 0 if row is None else getattr(row, name))
        if lot is not None and row is not None:
            compare(f"lot {lot_id}: terms", _terms(lot.terms), _terms(Terms(row.priority, row.expires_at)))
    holds = await _holds(db, tenant_id)
    for hold_id in sorted(holds.keys() | books.holds.keys()):
        made = books.holds.get(hold_id)
        compare(f"hold {hold_id}: amount", 0 if made is None else made.held, holds.get(hold_id, 0))
    for budget in (await db.execute(_BUDGETS, {"tenant": tenant_id})).all():
        compare(f"budget {budget.id}: spent", budget.charged, budget.spent)
        compare(f"budget {budget.id}: held", budget.reserved, budget.held)
    sums = (await db.execute(_SUMS, {"tenant": tenant_id})).one()
    compare("transactions: sum of amounts", books.available + books.held, sums.moved, repairable=False)
    compare("credit_usage: sum of credits", books.spent, sums.used, repairable=False)
    for call in (await db.execute(_JOURNAL, {"tenant": tenant_id})).all():
        key = f"{call.execution_id}/{call.lineage}/{call.step_index}/{call.request_hash}/{call.occurrence}"
        compare(f"call {key}: journaled cost", call.charged, call.cost, repairable=False)


async def _repair(db: AsyncSession, tenant_id: UUID, lots: Sequence[CreditGrant], books: Books) -> None:
    """The account is locked: nothing moves meanwhile."""
    legs = {name: getattr(books, name) for name in _LEGS}
    await db.execute(
        update(CreditAccount).where(col(CreditAccount.tenant_id) == tenant_id).values(**legs, updated_at=now())
    )
    await db.execute(
        update(Tenant)
        .where(col(Tenant.id) == tenant_id)
        .values(credits_balance=(books.available + books.held) // MICRO)
    )
    unknown = [lot.id for lot in lots if lot.id not in books.lots]
    await db.execute(delete(CreditGrant).where(col(CreditGrant.id).in_(unknown)))
    for lot in books.lots.values():
        entry: Any = lot.entry
        row = CreditGrant(
            id=lot.id,
            tenant_id=tenant_id,
            source=entry.source,
            reference=entry.reference,
            priority=lot.terms.priority,
            expires_at=lot.terms.expires_at,
            amount=lot.amount,
            remaining=lot.remaining,
            created_at=entry.created_at,
        )
        told = row.model_dump(include={"amount", "remaining", "priority", "expires_at"})
        await db.execute(
            insert(CreditGrant)
            .values(row.model_dump(exclude={"is_left"}))
            .on_conflict_do_update(
                index_elements=["id"],
                set_=told,
                where=or_(*(getattr(CreditGrant, name).is_distinct_from(value) for name, value in told.items())),
            )
        )
    await _repair_holds(db, tenant_id, books.holds.items())
    budgets = (await db.execute(_BUDGETS, {"tenant": tenant_id})).all()
    for budget in budgets:
        await db.execute(
            update(Budget).where(col(Budget.id) == budget.id).values(spent=budget.charged, held=budget.reserved)
        )


async def _repair_holds(db: AsyncSession, tenant_id: UUID, made: Iterable[tuple[UUID, Any]]) -> None:
    """A hold whose row is gone comes back without its budgets, which no entry tells."""
    known, open_ = await _holds(db, tenant_id), dict(made)
    gone = [hold_id for hold_id in known if hold_id not in open_]
    await db.execute(delete(CreditHold).where(col(CreditHold.id).in_(gone)))
    for hold_id, entry in open_.items():
        key = {
            name: getattr(entry, name)
            for name in ("execution_id", "lineage", "step_index", "request_hash", "occurrence", "attempt", "created_at")
        }
        row = CreditHold(id=hold_id, tenant_id=tenant_id, amount=entry.held, budgeted=entry.held, **key)
        statement = insert(CreditHold).values(row.model_dump())
        await db.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"amount": entry.held}))


async def _holds(db: AsyncSession, tenant_id: UUID) -> dict[UUID, int]:
    """Amounts of holds; those of nothing have no entry."""
    rows: Sequence[CreditHold] = (
        (await db.execute(_of(CreditHold, tenant_id).where(col(CreditHold.amount) > 0))).scalars().all()
    )
    return {row.id: row.amount for row in rows}


def _terms(terms: Terms) -> str:
    until = "" if terms.expires_at is None else f" until {terms.expires_at.astimezone(UTC).isoformat()}"
    return f"priority {terms.priority}{until}"


def _of(table: Any, tenant_id: UUID) -> Any:
    return select(table).where(col(table.tenant_id) == tenant_id)
