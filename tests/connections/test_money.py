"""What a run of an agent elsewhere costs: held before it is started, settled once with its end, whoever follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from activities.adapters.base import Unaffordable
from activities.connections.failures import ExternalFailed, ExternalRefused
from activities.gateway import external
from omium_core.credits import MICRO
from tests.connections.doubles import Double, Odd
from tests.connections.test_runs import DONE, FAILED, World
from tests.connections.test_runs import _scene as _scene
from tests.connections.test_runs import rows as rows
from tests.gateway.support import Scene
from tests.support.database import PostgresServer
from tests.support.purse import Purse, new_purse


@pytest.fixture
def purse(postgres: PostgresServer) -> Iterator[Purse]:
    with new_purse(postgres.url) as purse:
        purse.grant(10 * MICRO)
        yield purse


@pytest.fixture
def world(_scene: Scene, double: Double, purse: Purse, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(external, "_SETTLE", 0.1)
    return World(Scene(_scene.gateway, purse.rows, _scene.model), double)


@pytest.mark.parametrize("by", ["id", "name", "any"])
async def test_run_is_paid_once(world: World, double: Double, purse: Purse, by: str) -> None:
    row = world.connect()
    name = {"id": f"external:{row.id}", "name": f"external:{row.connection_name}", "any": "*"}[by]
    price = purse.price("tool", name, per_call=2)
    double.at_once = DONE
    for _ in range(2):
        await world.run(row.connection_name)
    assert purse.stands == (8 * MICRO, 0, 2 * MICRO)
    settled = purse.settled
    assert (settled.usage_type, settled.resource, settled.price_id) == (
        "tool",
        f"external:{row.connection_name}",
        price,
    )
    [entry] = world.scene.journal(world.step)
    assert entry.cost == 2 * MICRO


async def test_who_follows_a_run_takes_its_hold_over(world: World, double: Double, purse: Purse) -> None:
    purse.price("tool", "*", per_call=2)
    name = world.connect().connection_name
    async with world.running(name):
        assert purse.stands == (8 * MICRO, 2 * MICRO, 0)
    async with world.running(name) as attempt:
        await world.until(lambda: [hold.attempt for hold in purse.holds] == [2])
        # it runs already, whatever may be spent from now on
        purse.limit(0)
        double.finish(DONE)
        await asyncio.wait_for(attempt, 60)
    assert purse.stands == (8 * MICRO, 0, 2 * MICRO)
    assert world.started() == 1


async def test_run_that_was_not_started_costs_nothing(world: World, double: Double, purse: Purse) -> None:
    purse.price("tool", "*", per_call=2)
    double.script["POST /kickoff"].append(Odd(422))
    with pytest.raises(ExternalRefused):
        await world.run(world.connect().connection_name)
    assert purse.stands == (10 * MICRO, 0, 0)


async def test_run_that_failed_was_a_run(world: World, double: Double, purse: Purse) -> None:
    purse.price("tool", "*", per_call=2)
    double.at_once = FAILED
    with pytest.raises(ExternalFailed, match="the kettle is empty"):
        await world.run(world.connect().connection_name)
    assert purse.stands == (8 * MICRO, 0, 2 * MICRO)


async def test_run_that_cannot_be_paid_for_is_not_started(world: World, purse: Purse) -> None:
    purse.price("tool", "*", per_call=2)
    purse.limit(2 * MICRO - 1)
    with pytest.raises(Unaffordable):
        await world.run(world.connect().connection_name)
    assert world.started() == 0
    assert world.effects() == []
    assert purse.stands == (10 * MICRO, 0, 0)
