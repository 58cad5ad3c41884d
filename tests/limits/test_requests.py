"""Requests in a minute and an hour, requests and checkpoints in a month, the size of inputs: over the API, in this process."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from api.app import create_app
from api.limits import windows
from models.database import Database
from models.repositories.limits import month_of
from models.tables import Checkpoint
from omium_core.errors import ConfigurationError, RateLimitExceeded
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker, as_caller, key_of, tenant
from tests.limits.conftest import Make
from tests.support.database import PostgresServer
from tests.support.light import WORKFLOW
from tests.support.loopback import free_port
from tests.support.tenants import add_tenant

__all__ = ["as_caller", "key_of", "tenant"]

EXECUTIONS, OTHERS = "/api/v1/executions", "/api/v1/workflows"


class Clock:
    """Stands in for the module `time` where windows read the clock."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0 - 1_800_000_000.0 % 3600

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands still, so that no minute ends in the middle of a test."""
    clock = Clock()
    clock.now += 30
    monkeypatch.setattr(windows, "time", clock)
    return clock


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path,
        requests_per_minute=12,
        requests_per_hour=1000,
        execution_requests_per_minute=4,
        execution_requests_per_hour=500,
        database_pool_size=1,
        max_input_bytes=1000,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def statuses(client: httpx.AsyncClient, path: str, count: int) -> list[int]:
    return [(await client.get(path)).status_code for _ in range(count)]


async def change(database: Database, tenant_id: UUID, values: str) -> None:
    async with database.system() as session:
        await session.execute(text(f"UPDATE tenants SET {values} WHERE id = :id"), {"id": tenant_id})


async def test_a_key_and_then_its_tenant_are_limited(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> None:
    async with as_caller(await key_of(tenant, "read")) as one, as_caller(await key_of(tenant, "read")) as other:
        first = await one.get(EXECUTIONS)
        assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("4", "3")
        assert first.headers["x-ratelimit-remaining"] == "3"
        assert int(first.headers["ratelimit-reset"]) <= 60
        assert int(first.headers["x-ratelimit-reset"]) > 1_700_000_000
        assert await statuses(one, EXECUTIONS, 4) == [200, 200, 200, 429]

        refused = await one.get(EXECUTIONS)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert error["details"]["retry_after"] == int(refused.headers["retry-after"])

        # other routes, and other keys, go on until the tenant has sent what it may; what was refused does not count
        assert await statuses(other, EXECUTIONS, 4) == [200] * 4
        assert await statuses(one, OTHERS, 5) == [200] * 4 + [429]
        assert await statuses(other, OTHERS, 1) == [429]
        # nor does what the tenant's limit refused count for a key
        async with as_caller(await key_of(tenant, "read")) as third:
            refusals = [(await third.get(EXECUTIONS)).json()["error"]["details"]["subject"] for _ in range(5)]
        assert refusals == ["tenant"] * 5
        assert (await one.get("/api/v1/health/live")).status_code == 200, "health is asked by nobody's key"


async def test_tenants_and_keys_have_numbers_of_their_own(
    as_caller: Caller, key_of: KeyMaker, tenant: UUID, database: Database
) -> None:
    async with as_caller(await key_of(tenant, "admin")) as admin:
        made = await admin.post("/api/v1/api-keys", json={"name": "slow", "rate_limit_per_minute": 2})
        async with as_caller(made.json()["key"]) as slow:
            assert await statuses(slow, EXECUTIONS, 3) == [200, 200, 429]
    wide = await add_tenant(database)
    await change(database, wide, """limits = '{"requests_per_minute": null, "execution_requests_per_minute": 20}'""")
    async with as_caller(await key_of(wide, "read")) as client:
        assert await statuses(client, EXECUTIONS, 21) == [200] * 20 + [429]
        shown = (await client.get("/api/v1/limits")).json()
    windows = {(entry["scope"], entry["window_seconds"]): entry["limit"] for entry in shown["requests"]}
    assert windows == {("caller", 60): 20, ("caller", 3600): 500, ("tenant", 3600): 1000}


async def test_concurrent_requests_do_not_slip_through(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> None:
    async with as_caller(await key_of(tenant, "read")) as client:
        answers = await asyncio.gather(*(client.get(EXECUTIONS) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 16


async def test_addresses_are_limited_without_a_caller(app: FastAPI) -> None:
    limits = app.state.wiring.limits
    for _ in range(3):
        await limits.check_address("sign-in", "192.0.2.1", per_minute=3)
    with pytest.raises(RateLimitExceeded) as refused:
        await limits.check_address("sign-in", "192.0.2.1", per_minute=3)
    assert refused.value.details["subject"] == "address"
    await limits.check_address("sign-in", "192.0.2.2", per_minute=3)
    await limits.check_address("reset", "192.0.2.1", per_minute=3)


async def test_requests_of_a_month(
    as_caller: Caller, key_of: KeyMaker, tenant: UUID, database: Database, app: FastAPI
) -> None:
    await change(database, tenant, "max_api_calls_per_month = 3")
    async with as_caller(await key_of(tenant, "read", "write")) as client:
        assert await statuses(client, OTHERS, 4) == [200, 200, 200, 429]
        refused = await client.get(OTHERS)
        error = refused.json()["error"]
        assert (error["code"], error["details"]["quota"]) == ("QUOTA_EXCEEDED", "api_calls")
        assert (error["details"]["limit"], error["details"]["used"]) == (3, 3)
        assert int(refused.headers["retry-after"]) > 0
        # what is used can be seen, and what runs can be stopped
        shown = await client.get("/api/v1/limits")
        assert shown.json()["quotas"]["api_calls"]["used"] == 3
        stop = await client.post(f"/api/v1/executions/{tenant}/cancel")
        assert stop.status_code == 404

    stored = text("SELECT calls FROM api_usage WHERE tenant_id = :tenant AND month = :month")
    async with database.system() as session:
        assert (await session.execute(stored, {"tenant": tenant, "month": month_of()})).one_or_none() is None
    await app.state.wiring.metering.flush()
    await app.state.wiring.metering.flush()
    async with database.system() as session:
        assert (await session.execute(stored, {"tenant": tenant, "month": month_of()})).scalar_one() == 3


async def test_requests_of_two_processes_add_up(
    app: FastAPI, settings: Settings, tenant: UUID, database: Database
) -> None:
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        meters = app.state.wiring.metering, other.state.wiring.metering
        for metering in meters:
            meter = await metering.meter(tenant)
            for _ in range(50):
                metering.count(tenant, meter)
        await asyncio.gather(*(metering.flush() for metering in meters))
        sums = [(await metering.meter(tenant)).calls for metering in meters]
        assert max(sums) == 100
        for metering in meters:
            metering.count(tenant, await metering.meter(tenant))
            await metering.flush()
        assert (await meters[1].meter(tenant)).calls == 102


async def test_checkpoints_of_a_month_end_new_runs_alone(
    world: Make, as_caller: Caller, key_of: KeyMaker, database: Database
) -> None:
    place = await world(10)
    (execution_id,) = await place.add(1, status="running")
    checkpoint = Checkpoint(
        tenant_id=place.tenant_id,
        execution_id=execution_id,
        step_index=0,
        checkpoint_number=1,
        checkpoint_name="one",
        checksum="0" * 64,
        state_size_bytes=2,
    )
    async with database.transaction(place.tenant_id) as session:
        session.add(checkpoint)
    await change(database, place.tenant_id, "max_checkpoints_per_month = 1")
    async with as_caller(await key_of(place.tenant_id, "read", "write")) as client:
        answer = await client.post(f"/api/v1/workflows/{place.workflow.id}/execute", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "QUOTA_EXCEEDED")
        assert answer.json()["error"]["details"]["quota"] == "checkpoints"
        assert (await client.get(f"{EXECUTIONS}/{execution_id}")).status_code == 200


async def test_starts_at_once_do_not_wait_for_each_others_connections(
    world: Make, as_caller: Caller, key_of: KeyMaker
) -> None:
    place = await world(10)
    place.version.workflow_definition = WORKFLOW["workflow_definition"]
    async with place.database.transaction(place.tenant_id) as session:
        session.add(place.version)
    async with as_caller(await key_of(place.tenant_id, "read", "write")) as client:
        url, body = f"/api/v1/workflows/{place.workflow.id}/execute", {"inputs": {"name": "Ada"}}
        # less than the 30 s after which who waits for a connection gives up, and the others come through
        answers = await asyncio.wait_for(asyncio.gather(*(client.post(url, json=body) for _ in range(4))), 25)
    assert [answer.status_code for answer in answers] == [201] * 4


async def test_large_inputs_are_named(world: Make, as_caller: Caller, key_of: KeyMaker) -> None:
    place = await world(10)
    inputs: dict[str, Any] = {"topic": "x" * 1000}
    async with as_caller(await key_of(place.tenant_id, "read", "write")) as client:
        body = {"workflow_id": str(place.workflow.id), "inputs": inputs}
        answer = await client.post(EXECUTIONS, json=body)
        daily = await client.post("/api/v1/schedules", json={**body, "name": "daily", "cron": "@daily"})
    for refused in (answer, daily):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert error["details"]["errors"][0]["path"] == "inputs"


async def test_place_in_the_queue_is_told_and_can_be_left(world: Make, as_caller: Caller, key_of: KeyMaker) -> None:
    place = await world(1)
    running, first, second = await place.add(3)
    await place.set(running, status="running")
    async with as_caller(await key_of(place.tenant_id, "read", "write")) as client:
        shown = [(await client.get(f"{EXECUTIONS}/{one}")).json()["queue_position"] for one in (running, first, second)]
        assert shown == [None, 1, 2]
    async with as_caller(await key_of(place.tenant_id, "read", "write")) as client:
        cancelled = await client.post(f"{EXECUTIONS}/{first}/cancel", json={"reason": "not needed"})
        assert (cancelled.status_code, cancelled.json()["execution"]["status"]) == (200, "cancelled"), cancelled.text
        assert (await client.get(f"{EXECUTIONS}/{second}")).json()["queue_position"] == 1


async def test_windows_slide(clock: Clock) -> None:
    counted, minute = windows.Windows("memory"), windows.Window("somebody", 10, 60)
    clock.now += 29
    assert [await counted.take(minute) for _ in range(11)] == [True] * 10 + [False]
    # the clock's next minute is no new window of ten
    clock.now += 2
    assert not await counted.take(minute)
    standing = await counted.standing(minute)
    assert standing.remaining == 0
    clock.now += standing.resets_in + 0.01
    assert await counted.take(minute), "the time that was told was right"
    assert not await counted.take(minute)
    clock.now += 120
    assert (await counted.standing(minute)).remaining == 10


async def test_time_until_the_next_request_is_taken_is_right(clock: Clock) -> None:
    counted, minute = windows.Windows("memory"), windows.Window("somebody", 3, 60)
    taken: list[float] = []
    for _ in range(40):
        if await counted.take(minute):
            taken.append(clock.now)
            continue
        wait = (await counted.standing(minute)).resets_in
        clock.now += wait - 0.01
        assert not await counted.take(minute), "not earlier than told"
        clock.now += 0.02
    for first, fourth in itertools.pairwise(taken[::3]):
        assert fourth - first > 30, "about three in a minute"


@pytest.mark.parametrize(
    "store", ["memcached://somewhere", "redis://", "redis:///0", "redis://host:port/0", "redis://host:6379/first", ""]
)
def test_store_must_be_known(store: str) -> None:
    with pytest.raises(ConfigurationError, match="OMIUM_RATE_LIMIT_STORE must be"):
        windows.Windows(store)


def test_store_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match="install the extra `redis`"):
        windows.Windows("rediss://omium:p%40ss@redis.example.com:6379/0")


async def test_store_that_is_away_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    counted, minute = windows.Windows(f"redis://:secret@127.0.0.1:{free_port()}/0"), windows.Window("somebody", 2, 60)
    assert [await counted.take(minute) for _ in range(3)] == [True, True, False]
    assert (await counted.standing(minute)).remaining == 0
    told = "".join(capsys.readouterr())
    assert told.count("the store of rate limits does not answer") == 1, "and not again for every request"
    assert "secret" not in told
