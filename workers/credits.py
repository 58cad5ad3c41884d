"""What operators do with credits and prices, with the database at hand. Said by `omium billing`; see `workers.billing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.bootstrap import BOOTSTRAP_SLUG
from models.database import Database
from models.repositories.audit import AuditEntry, write_entry
from models.repositories.ledger import LedgerRepository, Movement
from models.repositories.prices import add_price
from models.tables import LedgerEntry, Price, Tenant
from models.tables.base import now
from omium_core.credits import MICRO, to_credits
from omium_core.errors import ConfigurationError, IdempotencyConflict, NotFound
from workers.resealing import tenant_named


async def tenant_meant(database: Database, named: str | None) -> UUID:
    """A tenant by slug or id. Without a word: the first one of the installation, else the only one."""
    if named is not None:
        return await tenant_named(database, named)
    query = select(col(Tenant.id), col(Tenant.slug)).where(col(Tenant.deleted_at).is_(None)).limit(2)
    async with database.system() as db:
        first = (await db.execute(query.where(col(Tenant.slug) == BOOTSTRAP_SLUG))).all()
        found = first or (await db.execute(query)).all()
    if len(found) != 1:
        raise ConfigurationError("There are several tenants, or none: say which one with --tenant.")
    tenant_id: UUID = found[0].id
    return tenant_id


async def grant(
    database: Database,
    tenant_id: UUID,
    credits: Decimal,
    *,
    source: str = "manual",
    key: str | None = None,
    note: str | None = None,
    expires_at: datetime | None = None,
) -> dict[str, Any]:
    """A lot of credits; with a `key`, once. Raises `IdempotencyConflict` when the key moved another amount."""
    movement = Movement(f"operator:{key or uuid4()}", _micro(credits), source, description=note)

    async def move(ledger: LedgerRepository) -> bool:
        return await ledger.grant(movement, expires_at=expires_at)

    return await _moved(database, tenant_id, "billing.grant", movement, move, credits)


async def adjust(
    database: Database, tenant_id: UUID, credits: Decimal, *, note: str, key: str | None = None
) -> dict[str, Any]:
    """A correction: takes credits that are not held, up to what is there, or adds some."""
    movement = Movement(f"operator:{key or uuid4()}", abs(_micro(credits)), "manual", description=note)

    async def move(ledger: LedgerRepository) -> bool:
        if credits > 0:
            return await ledger.grant(movement)
        return await ledger.take(movement, kind="adjust") is not None

    return await _moved(database, tenant_id, "billing.adjust", movement, move, credits)


async def _moved(
    database: Database, tenant_id: UUID, action: str, movement: Movement, move: Any, credits: Decimal
) -> dict[str, Any]:
    async with database.transaction(tenant_id) as db:
        ledger = LedgerRepository(db, tenant_id)
        done = await move(ledger)
        query = select(LedgerEntry).where(
            col(LedgerEntry.tenant_id) == tenant_id, col(LedgerEntry.idempotency_key) == movement.key
        )
        entry: LedgerEntry = (await db.execute(query)).scalar_one()
        # what could not be taken was wanted all the same
        asked = entry.available - entry.unpaid
        if asked != _micro(credits):
            raise IdempotencyConflict(
                f"This key moved {to_credits(asked)} credits before.", idempotency_key=movement.key.partition(":")[2]
            )
        account = await ledger.account()
        told = {
            "tenant_id": str(tenant_id),
            "transaction_id": str(entry.id),
            "credits": to_credits(entry.available),
            "repeated": not done,
            "balance": to_credits(account.available + account.held),
        }
        if done:
            new = {"credits": told["credits"], "source": movement.source, "note": movement.description}
            await _note(db, tenant_id, action, "transaction", entry.id, new)
    return told


async def set_price(database: Database, price: Mapping[str, Any], *, withdrawn: bool = False) -> dict[str, Any]:
    """A new version of a price, for a tenant or for all. Raises `NotFound` for a price to withdraw that is not there."""
    values = dict(price)
    named = values.pop("tenant")
    tenant_id = None if named is None else await tenant_named(database, named)
    row = Price(tenant_id=tenant_id, withdrawn=withdrawn, **{"effective_from": now(), **values})
    async with database.system() as db:
        if withdrawn:
            query = (
                select(Price)
                .where(
                    col(Price.tenant_id).is_not_distinct_from(tenant_id),
                    col(Price.kind) == row.kind,
                    col(Price.name) == row.name,
                    col(Price.effective_from) <= row.effective_from,
                )
                .order_by(col(Price.effective_from).desc(), col(Price.number).desc())
            )
            before: Price | None = (await db.execute(query)).scalars().first()
            if before is None or before.withdrawn:
                raise NotFound(f"There is no price of {row.kind} {row.name}".rstrip() + ".")
        await add_price(db, row)
    if tenant_id is not None:
        async with database.transaction(tenant_id) as db:
            new = row.model_dump(mode="json", exclude={"id", "tenant_id", "number", "created_at"})
            await _note(db, tenant_id, "billing.price", "price", row.id, new)
    return shown(row)


async def list_prices(database: Database, named: str | None) -> list[dict[str, Any]]:
    """All versions, or with a tenant those that concern it; `current` marks those that hold now, each for its owner."""
    tenant_id = None if named is None else await tenant_named(database, named)
    query = select(Price).order_by(col(Price.kind), col(Price.name), col(Price.number).desc())
    if tenant_id is not None:
        query = query.where(col(Price.tenant_id).is_(None) | (col(Price.tenant_id) == tenant_id))
    async with database.system() as db:
        rows: Sequence[Price] = (await db.execute(query)).scalars().all()
    at, newest = now(), {}
    for row in sorted(rows, key=lambda row: (row.effective_from, row.number)):
        if row.effective_from <= at:
            newest[row.tenant_id, row.kind, row.name] = row.id
    current = set(newest.values())
    return [{**shown(row), "current": row.id in current and not row.withdrawn} for row in rows]


def shown(price: Price) -> dict[str, Any]:
    """A version of a price as JSON: amounts are numbers of credits."""
    amounts = ("per_call", "input_per_1m", "cached_per_1m", "output_per_1m")
    return {
        "id": str(price.id),
        "tenant_id": None if price.tenant_id is None else str(price.tenant_id),
        price.kind: price.name or True,
        **{name: _number(getattr(price, name)) for name in amounts},
        "max_output_tokens": price.max_output_tokens,
        "effective_from": price.effective_from.isoformat(),
        "withdrawn": price.withdrawn,
    }


def _number(amount: Decimal | None) -> int | float | None:
    if amount is None:
        return None
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _micro(credits: Decimal) -> int:
    return int(credits * MICRO)


async def _note(db: AsyncSession, tenant_id: UUID, action: str, kind: str, about: UUID, new: dict[str, Any]) -> None:
    told = {name: value for name, value in new.items() if value is not None}
    entry = AuditEntry(tenant_id, action, kind, about, new_values=told, metadata={"source": "operator"})
    await write_entry(db, entry)
