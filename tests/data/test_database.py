"""Transactions when all goes well, and when they are cancelled, cut off, too many, or the server dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession as PlainSession
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.tables import Workflow
from models.tables.base import new_id
from tests.support.database import PostgresServer, database_at, running_postgres
from tests.support.tenants import add_tenant
from tests.support.wire import Wire

WHO = text(
    "SELECT current_user::text AS role, current_setting('omium.tenant_id', true) AS tenant, pg_backend_pid() AS backend"
)


@pytest.fixture
async def wire(postgres: PostgresServer) -> AsyncIterator[Wire]:
    async with Wire(postgres.url).running() as running:
        yield running


@pytest.fixture
async def behind_wire(wire: Wire, tenant: UUID) -> AsyncIterator[Database]:
    """A pool of one connection, and one beyond, that has met the tenant."""
    database = database_at(wire.url, pool_size=1)
    async with database.transaction(tenant) as session:
        await session.execute(text("SELECT 1"))
    yield database
    await database.close()


def workflow(tenant: UUID, name: str = "w") -> Workflow:
    return Workflow(id=new_id(), tenant_id=tenant, name=name, framework="langgraph")


async def names(database: Database, tenant: UUID) -> list[str]:
    async with database.transaction(tenant) as session:
        return list((await session.execute(select(col(Workflow.name)).order_by(col(Workflow.id)))).scalars())


async def turns(wire: Wire, work: Callable[[], Awaitable[object]]) -> int:
    """How many round trips the second time costs: the first one prepares the statement."""
    await work()
    before = wire.turns
    await work()
    return wire.turns - before


async def test_transaction_costs_as_many_round_trips_as_any(wire: Wire, behind_wire: Database, tenant: UUID) -> None:
    engine = create_async_engine(wire.url, pool_size=1)
    query = text("SELECT 1")

    async def plain() -> None:
        async with PlainSession(engine) as session, session.begin():
            await session.execute(query)

    async def of_tenant() -> None:
        async with behind_wire.transaction(tenant) as session:
            await session.execute(query)

    async def of_platform() -> None:
        async with behind_wire.system() as session:
            await session.execute(query)

    async def alone() -> None:
        await behind_wire.statement(tenant, query, {})

    assert [await turns(wire, work) for work in (plain, of_tenant, of_platform, alone)] == [3, 3, 3, 1]
    await engine.dispose()


async def test_connection_that_was_a_tenants_serves_the_next_one(
    behind_wire: Database, tenant: UUID, database: Database
) -> None:
    other = await add_tenant(database)
    async with database.transaction(tenant) as session:
        session.add(workflow(tenant))
    count = text("SELECT (SELECT count(*) FROM workflows) AS seen, pg_backend_pid() AS backend")
    seen = []
    for _ in range(2):
        for owner in (tenant, other):
            of_statement = await behind_wire.statement(owner, count, {})
            of_row = await behind_wire.row(owner, "SELECT count(*) AS seen, pg_backend_pid() AS backend FROM workflows")
            async with behind_wire.transaction(other if owner == tenant else tenant) as session:
                of_transaction = (await session.execute(count)).one()
                who = (await session.execute(WHO)).one()
                assert (who.role, who.tenant) == ("omium_app", str(other if owner == tenant else tenant))
            async with behind_wire.system() as session:
                who = (await session.execute(WHO)).one()
                assert (who.role, who.tenant) == ("omium_system", "")
            assert of_row is not None
            assert {of_statement.backend, of_row["backend"], of_transaction.backend} == {who.backend}, "one connection"
            seen.append((of_statement.seen, of_row["seen"], of_transaction.seen))
    assert seen == [(1, 1, 0), (0, 0, 1)] * 2


async def test_what_is_no_id_is_no_statement(behind_wire: Database) -> None:
    wrong: UUID = "x'; RESET ROLE; --"  # type: ignore[assignment]
    with pytest.raises((ValueError, DBAPIError)):
        async with behind_wire.transaction(wrong):
            pass
    with pytest.raises(ValueError, match="badly formed"):
        await behind_wire.statement(wrong, WHO, {})
    with pytest.raises(ValueError, match="badly formed"):
        await behind_wire.row(wrong, "SELECT 1")


async def test_error_that_a_block_swallows_is_no_commit(behind_wire: Database, tenant: UUID) -> None:
    async def work() -> None:
        async with behind_wire.transaction(tenant) as session:
            session.add(workflow(tenant))
            await session.flush()
            with pytest.raises(IntegrityError):
                await session.execute(text("INSERT INTO workflows SELECT * FROM workflows"))

    with pytest.raises(RuntimeError, match="Nothing was committed"):
        await work()
    assert await names(behind_wire, tenant) == []


@pytest.mark.parametrize("words", [b"BEGIN", b"COMMIT", b"slow_statement"])
@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_at_any_moment(
    wire: Wire, behind_wire: Database, tenant: UUID, words: bytes, times: int
) -> None:
    async def work() -> None:
        async with behind_wire.transaction(tenant) as session:
            session.add(workflow(tenant))
            await session.flush()
            # another each time: one that is known is sent without its words
            await session.execute(text(f"SELECT 1 AS slow_statement_{new_id().hex}"))

    await work()
    wire.hold(words)
    cancelled = asyncio.create_task(work())
    await wire.arrived.wait()
    for _ in range(times):
        cancelled.cancel()
        # a turn of the loop, so that the second one meets what the first one began
        await asyncio.sleep(0)
    wire.release()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert behind_wire.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    # two at once, so that the connection of the cancelled one is among them
    found = await asyncio.gather(names(behind_wire, tenant), names(behind_wire, tenant))
    assert found[0] == found[1]
    assert len(found[0]) == (2 if words == b"COMMIT" and len(found[0]) == 2 else 1)
    await work()
    assert len(await names(behind_wire, tenant)) == len(found[0]) + 1


async def test_answer_of_a_commit_that_is_lost(wire: Wire, behind_wire: Database, tenant: UUID) -> None:
    """The work is done again: it must be such that this changes nothing."""
    row = workflow(tenant)
    tried = 0

    async def work(session: AsyncSession) -> None:
        nonlocal tried
        tried += 1
        if await session.get(Workflow, row.id) is None:
            session.add(Workflow(**row.model_dump()))

    wire.cut_after(b"COMMIT")
    await behind_wire.run(tenant, work)
    assert tried == 2
    assert await names(behind_wire, tenant) == ["w"]


async def test_more_at_once_than_connections(behind_wire: Database, tenant: UUID) -> None:
    async def work(number: int) -> None:
        async with behind_wire.transaction(tenant) as session:
            session.add(workflow(tenant, str(number)))

    await asyncio.gather(*(work(number) for number in range(40)))
    assert len(await names(behind_wire, tenant)) == 40
    assert behind_wire.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_tenant_that_is_met_while_all_connections_are_taken(behind_wire: Database, database: Database) -> None:
    """Its key is read before its transaction takes a connection: nobody waits with one for another."""
    tenants = [await add_tenant(database) for _ in range(6)]
    assert [len(found) for found in await asyncio.gather(*(names(behind_wire, tenant) for tenant in tenants))] == [
        0
    ] * 6


async def test_two_that_wait_for_each_other_both_come_through(database: Database, tenant: UUID) -> None:
    rows = [workflow(tenant, "a"), workflow(tenant, "b")]
    async with database.transaction(tenant) as session:
        session.add_all(rows)
    first, second = (row.id for row in rows)
    both, attempts = asyncio.Barrier(2), 0

    async def in_order(*ids: UUID) -> None:
        async def work(session: AsyncSession) -> None:
            nonlocal attempts
            attempts += 1
            for place, row in enumerate(ids):
                if place and attempts <= 2:
                    await both.wait()
                query = update(Workflow).where(col(Workflow.id) == row)
                await session.execute(query.values(name=col(Workflow.name) + "x"))

        await database.run(tenant, work)

    await asyncio.gather(in_order(first, second), in_order(second, first))
    assert attempts == 3
    assert await names(database, tenant) == ["axx", "bxx"]


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[PostgresServer]:
    with running_postgres(tmp_path / "data") as server:
        yield server


async def test_server_that_is_killed_under_load(mortal: PostgresServer) -> None:
    database = database_at(mortal.url, pool_size=3)
    tenant = await add_tenant(database)
    done: asyncio.Queue[str] = asyncio.Queue()

    async def write(number: int) -> None:
        for turn in range(20):
            row = workflow(tenant, f"{number}-{turn}")

            async def work(session: AsyncSession, row: Workflow = row) -> None:
                if await session.get(Workflow, row.id) is None:
                    session.add(Workflow(**row.model_dump()))

            await database.run(tenant, work)
            await database.statement(tenant, text("SELECT 1"), {})
            done.put_nowait(row.name)

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    for _ in range(2):
        for _ in range(30):
            await done.get()
        await asyncio.to_thread(mortal.kill)
        await asyncio.to_thread(mortal.start)
    await asyncio.gather(*writers)
    async with database.transaction(tenant) as session:
        query = select(func.count(), func.count(func.distinct(Workflow.name))).select_from(Workflow)
        assert tuple((await session.execute(query)).one()) == (160, 160)
    await database.close()
