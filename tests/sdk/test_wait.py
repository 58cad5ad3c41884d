"""Waiting for the end of a run, also while the API is away."""

from __future__ import annotations

import asyncio

import pytest
from omium import AsyncOmiumClient, ExecutionTimeout, NotFound, OmiumClient, OmiumConnectionError, OmiumError
from omium.types import Execution

from tests.sdk.fake_api import API_KEY, ApiServer, FakeApi, Instead


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "rolled_back"])
def test_every_end_is_an_end(client: OmiumClient, api: FakeApi, end: str) -> None:
    api.script = [{"status": "running"}, {"status": "paused"}, {"status": end}]
    started = client.workflows.execute("w1")
    assert client.executions.wait_for_completion(started["execution_id"])["status"] == end


def test_changes_are_told_once(client: OmiumClient, api: FakeApi) -> None:
    working = {"agents": [{"name": "plan", "status": "running", "duration_ms": 1}]}
    api.script = [{"status": "running"}, working, working, {"status": "completed"}]
    client.workflows.execute("w1")
    told: list[Execution] = []
    client.executions.wait_for_completion("e1", on_change=told.append)
    assert [(run["status"], len(run["agents"])) for run in told] == [("running", 0), ("running", 1), ("completed", 1)]


def test_an_api_that_was_away_is_waited_for(client: OmiumClient, server: ApiServer) -> None:
    client.workflows.execute("w1")
    server.stop()
    outages: list[OmiumError] = []

    def come_back(error: OmiumError) -> None:
        outages.append(error)
        if len(outages) == 2:
            server.start()

    ended = client.executions.wait_for_completion("e1", timeout=30, on_outage=come_back)
    assert ended["status"] == "completed"
    assert [type(error) for error in outages] == [OmiumConnectionError] * 2


async def test_an_api_that_was_away_is_waited_for_async(server: ApiServer, api: FakeApi) -> None:
    async with AsyncOmiumClient(API_KEY, server.url) as client:
        await client.workflows.execute("w1")
        api.faults = [Instead(500, b""), Instead(503, b""), Instead(429, b"")]
        ended = await client.executions.wait_for_completion("e1", timeout=30)
    assert ended["status"] == "completed"


def test_time_is_up(client: OmiumClient, api: FakeApi) -> None:
    api.script = [{"status": "running"}]
    client.workflows.execute("w1")
    with pytest.raises(ExecutionTimeout, match="it is running and goes on") as caught:
        client.executions.wait_for_completion("e1", timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.execution is not None
    assert caught.value.execution["status"] == "running"


def test_time_is_up_and_nobody_answered(client: OmiumClient, server: ApiServer) -> None:
    server.stop()
    with pytest.raises(ExecutionTimeout, match=r"does not answer: Cannot reach Omium") as caught:
        client.executions.wait_for_completion("e1", timeout=0.3)
    assert caught.value.execution is None


def test_a_run_that_does_not_exist_is_not_waited_for(client: OmiumClient, api: FakeApi) -> None:
    with pytest.raises(NotFound):
        client.executions.wait_for_completion("nobody")
    assert len(api.seen) == 1


async def test_waiting_can_be_cancelled(server: ApiServer, api: FakeApi) -> None:
    api.script = [{"status": "running"}]
    async with AsyncOmiumClient(API_KEY, server.url) as client:
        await client.workflows.execute("w1")
        looked = asyncio.Event()
        waiting = asyncio.create_task(
            client.executions.wait_for_completion("e1", timeout=None, on_change=lambda run: looked.set())
        )
        await looked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
