"""Prices in the table, and the copy of them that a worker keeps."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from activities.gateway.prices import PriceBook
from models.database import Database
from models.pricing import PriceVersion, Rate, Used, cost, most, rate_at
from models.repositories.prices import PriceRepository, add_price
from models.tables import Price
from models.tables.base import now
from omium_core.settings import Settings
from tests.support.tenants import add_tenant


async def price(database: Database, tenant: UUID, name: str = "m", kind: str = "model", **values: Any) -> Price:
    async with database.system() as db:
        return await add_price(db, Price(tenant_id=tenant, kind=kind, name=name, **values))


async def versions(database: Database, owner: UUID, bound_to: UUID) -> list[PriceVersion]:
    async with database.transaction(owner) as db:
        return [version for version in await PriceRepository(db, bound_to).versions() if version.own]


def book(database: Database, **settings: Any) -> PriceBook:
    return PriceBook(database, Settings(model_prices={"listed": {"input": "1.5", "output": "2"}}, **settings))


async def rate(known: PriceBook, tenant: UUID, name: str = "m") -> Rate | None:
    return (await known.now(tenant)).model(name)


async def test_tenant_sees_its_own_prices_and_no_others(database: Database) -> None:
    tenant, other = await add_tenant(database), await add_tenant(database)
    mine = await price(database, tenant, per_call=Decimal(1))
    assert [version.number for version in await versions(database, tenant, tenant)] == [mine.number]
    assert await versions(database, other, tenant) == []
    assert await versions(database, tenant, other) == []
    async with database.transaction(other) as db:
        assert await PriceRepository(db, tenant).newest() < mine.number


async def test_version_is_never_changed(database: Database) -> None:
    tenant = await add_tenant(database)
    await price(database, tenant)
    for change in ("UPDATE prices SET per_call = 0", "DELETE FROM prices"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.transaction(tenant) as db:
                await db.execute(text(change))


async def test_copy_is_as_new_as_the_table(database: Database) -> None:
    tenant, known = await add_tenant(database), book(database)
    assert await rate(known, tenant) is None
    assert await rate(known, tenant, "listed") is not None
    first = await price(database, tenant, per_call=Decimal(1))
    assert (await rate(known, tenant) or Rate()).id == first.id
    second = await price(database, tenant, per_call=Decimal(2))
    assert (await rate(known, tenant) or Rate()).id == second.id
    await price(database, tenant, per_call=Decimal(3), effective_from=now() + timedelta(hours=1))
    assert (await rate(known, tenant) or Rate()).id == second.id
    await price(database, tenant, withdrawn=True)
    assert await rate(known, tenant) is None


async def test_numbers_are_in_the_order_of_the_commits(database: Database) -> None:
    """Who has seen a number has seen all that are lower: a copy of the prices misses none."""
    tenant = await add_tenant(database)
    begun, go_on = asyncio.Event(), asyncio.Event()
    values: dict[str, Any] = {"tenant_id": tenant, "kind": "model", "name": "a"}

    async def slowly() -> int:
        async with database.system() as db:
            made = await add_price(db, Price(**values))
            begun.set()
            await go_on.wait()
            return made.number

    slow = asyncio.create_task(slowly())
    await begun.wait()
    quick = asyncio.create_task(price(database, tenant, "b"))
    await asyncio.wait([quick], timeout=0.3)
    assert not quick.done()
    go_on.set()
    assert await slow < (await quick).number


async def test_settings_price_what_the_table_does_not(database: Database) -> None:
    tenant = await add_tenant(database)
    default = {"input_per_1m": "7"}
    refusing = await book(database, unpriced_models="refuse").now(tenant)
    lenient = await book(database, unpriced_models="default", default_price=default).now(tenant)
    listed = Rate(Decimal(150), Decimal(200))
    for known in (refusing, lenient):
        assert known.model("listed") == listed
        assert known.model("m") is None
    assert (refusing.unpriced, lenient.unpriced) == (None, Rate(Decimal(7)))
    await price(database, tenant, "*", per_call=Decimal(1))
    assert (await book(database).now(tenant)).model("listed") != listed


async def test_tools_are_free_without_a_price(database: Database) -> None:
    tenant, known = await add_tenant(database), book(database)
    assert (await known.now(tenant)).tool("search").is_free
    await price(database, tenant, "*", "tool", per_call=Decimal(1))
    await price(database, tenant, "search", "tool", per_call=Decimal(2))
    prices = await known.now(tenant)
    assert [prices.tool(name).per_call for name in ("search", "book")] == [2, 1]
    assert prices.tool("external:1", "search").per_call == 2


def test_own_price_comes_before_that_for_all() -> None:
    moment = now()

    def version(number: int, *, own: bool, withdrawn: bool = False, days: int = 1) -> PriceVersion:
        begins = moment - timedelta(days=days)
        return PriceVersion("model", "m", own, begins, number, withdrawn, Rate(per_call=Decimal(number)))

    for_all, own = version(9, own=False), version(3, own=True, days=5)
    assert (rate_at([for_all, own], "model", "m", moment) or Rate()).per_call == 3
    assert (rate_at([for_all, own, version(4, own=True, withdrawn=True)], "model", "m", moment) or Rate()).per_call == 9
    assert (rate_at([own, version(2, own=True, days=4)], "model", "m", moment) or Rate()).per_call == 2
    assert rate_at([version(1, own=False, days=-1)], "model", "m", moment) is None


def test_costs_are_rounded_up_once_and_never_above_the_most() -> None:
    price_of = Rate(Decimal("0.3"), Decimal("0.9"), Decimal("0.1"), Decimal("0.0000001"))
    assert cost(price_of, Used(1, 0, 1)) == 2
    assert cost(price_of, Used(10, 10, 0)) == 2
    for used in (Used(100, 0, 50), Used(100, 100, 50), Used(99, 7, 49), Used()):
        assert cost(price_of, used) <= most(price_of, input_tokens=100, output_tokens=50)
