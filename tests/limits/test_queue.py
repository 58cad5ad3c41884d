"""Executions beyond a tenant's limit wait for their turn: never more than the limit, the oldest first."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from activities.run_records import cancel_waiting
from models.repositories.queue import (
    admit,
    admitted_executions,
    count_places,
    is_anybody_waiting,
    queue_again,
    queue_position,
    tenants_waiting,
)
from models.tables import ExecutionEvent
from models.tables.base import now
from tests.limits.conftest import Make, World


async def admit_next(world: World) -> list[UUID]:
    async with world.database.transaction(world.tenant_id) as session:
        return await admit(session, world.tenant_id)


async def test_the_oldest_begin_first_and_never_more_than_the_limit(world: Make) -> None:
    place = await world(2)
    first, second, third, fourth = await place.add(4)
    assert await admit_next(place) == [first, second]
    assert await admit_next(place) == []
    await place.set(first, status="running")
    assert await admit_next(place) == []
    await place.set(second, status="completed")
    assert await admit_next(place) == [third]
    await place.set(first, status="failed")
    await place.set(third, status="cancelled")
    assert await admit_next(place) == [fourth]
    assert not await is_anybody_waiting(place.database, place.tenant_id)


async def test_a_hundred_starts_at_once_get_ten_places(world: Make) -> None:
    """As requests do it: each makes its row and asks for places in one transaction, all at the same time."""
    place = await world(10)
    given: list[UUID] = []

    async def start() -> None:
        async with place.database.transaction(place.tenant_id) as session:
            session.add(place.execution())
            given.extend(await admit(session, place.tenant_id))

    await asyncio.gather(*(start() for _ in range(100)))
    assert len(given) == len(set(given)) == 10
    assert await place.admitted() == set(given)
    async with place.database.transaction(place.tenant_id) as session:
        assert await count_places(session, place.tenant_id) == (10, 90)


async def test_places_that_become_free_at_once_are_given_once(world: Make) -> None:
    place = await world(5)
    await place.add(30)
    seen = set(await admit_next(place))
    while seen and (running := await place.admitted()):
        assert len(running) <= 5
        # five workers end a run and ask for the next, all at the same time
        await asyncio.gather(*(place.set(execution_id, status="completed") for execution_id in running))
        given = await asyncio.gather(*(admit_next(place) for _ in running))
        new = [execution_id for some in given for execution_id in some]
        assert len(new) == len(set(new))
        assert not seen & set(new), "nothing begins twice"
        seen |= set(new)
    assert len(seen) == 30


async def test_what_is_paused_holds_no_place_and_takes_one_when_it_goes_on(world: Make) -> None:
    place = await world(1)
    first, second, third = await place.add(3)
    assert await admit_next(place) == [first]
    await place.set(first, status="paused")
    assert await admit_next(place) == [second]
    await place.set(second, status="running")
    await place.set(first, status="running")
    await place.set(second, status="completed")
    assert await admit_next(place) == [], "the first one goes on in the only place"
    await place.set(first, status="completed")
    assert await admit_next(place) == [third]


async def test_one_that_is_taken_up_again_waits_behind_those_that_came_before(world: Make) -> None:
    place = await world(1)
    failed, running, waiting = await place.add(3)
    await place.set(failed, status="failed", admitted_at=now())
    await place.set(running, status="running", admitted_at=now())
    async with place.database.transaction(place.tenant_id) as session:
        row = await place.get(failed)
        queue_again(row)
        session.add(row)
    await place.set(running, status="completed")
    assert await admit_next(place) == [waiting]
    await place.set(waiting, status="completed")
    assert await admit_next(place) == [failed]


async def test_tenants_do_not_wait_for_each_other(world: Make) -> None:
    one, other = await world(1), await world(1)
    await one.add(5)
    (theirs,) = await other.add(1)
    assert len(await admit_next(one)) == 1
    assert await admit_next(other) == [theirs]


async def test_position_counts_those_that_came_before(world: Make) -> None:
    place = await world(1)
    ids = await place.add(3)
    await admit_next(place)
    async with place.database.transaction(place.tenant_id) as session:
        positions = [await queue_position(session, await place.get(execution_id)) for execution_id in ids]
    assert positions == [None, 1, 2]


async def test_reconciler_sees_who_waits_beside_a_free_place_and_who_was_forgotten(world: Make) -> None:
    place, full = await world(1), await world(1)
    (alone,) = await place.add(1)
    (runs, _) = await full.add(2)
    await full.set(runs, status="running", admitted_at=now())
    async with place.database.system() as session:
        found = await tenants_waiting(session)
    assert place.tenant_id in found
    assert full.tenant_id not in found, "its place is taken"

    assert await admit_next(place) == [alone]
    known = (place.tenant_id, alone)
    async with place.database.system() as session:
        assert known not in await admitted_executions(session, older_than=10), "somebody is just starting it"
    # whoever admitted it died before it could start it
    await place.set(alone, updated_at=now() - timedelta(minutes=1))
    async with place.database.system() as session:
        assert known in await admitted_executions(session, older_than=10)
        assert place.tenant_id not in await tenants_waiting(session)


async def test_one_that_waits_is_cancelled_without_a_run(world: Make) -> None:
    place = await world(1)
    first, second, third = await place.add(3)
    await admit_next(place)
    assert not await cancel_waiting(place.database, place.tenant_id, first, "too late"), "its turn has come"
    assert await cancel_waiting(place.database, place.tenant_id, second, "not needed")
    cancelled = await place.get(second)
    assert (cancelled.status, cancelled.completed_at is not None) == ("cancelled", True)
    await place.set(first, status="completed")
    assert await admit_next(place) == [third]
    async with place.database.transaction(place.tenant_id) as session:
        from sqlalchemy import select

        query = select(ExecutionEvent.event_type).where(ExecutionEvent.execution_id == second)  # type: ignore[call-overload, arg-type]
        assert (await session.execute(query)).scalars().all() == ["execution.cancelled"]


async def test_cancel_and_turn_at_the_same_moment_have_one_winner(world: Make) -> None:
    for _ in range(10):
        place = await world(1)
        (waiting,) = await place.add(1)
        cancelled, admitted = await asyncio.gather(
            cancel_waiting(place.database, place.tenant_id, waiting, ""), admit_next(place)
        )
        assert cancelled != (admitted == [waiting])
        row = await place.get(waiting)
        assert row.status == ("cancelled" if cancelled else "pending")
