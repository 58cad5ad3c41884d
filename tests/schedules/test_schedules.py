"""Schedules over the API and in a real Temporal: when they fire, what that starts, and what keeps both agreed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker

from activities.payload_codec import sealing_converter
from activities.schedules.starting import ScheduleActivities
from activities.schedules.sync import handle_of
from activities.stores.values import ValueStore
from api.app import create_app
from models.database import Database
from models.tables import Execution, Schedule, Workflow
from models.tables.base import new_id, now
from models.wire_schedules import Fire, Started
from omium_core import temporal as names
from omium_core.settings import Settings
from tests.support.loopback import free_port
from tests.support.tenants import add_key, add_tenant
from workers.schedules import ScheduleKeeper
from workflows.scheduled_start import ScheduledStart

Json = dict[str, Any]
INPUTS = {"name": "canary-input"}
NEVER = {"cron": "0 0 1 1 *"}


async def make(http: httpx.AsyncClient, workflow_id: str, **fields: Any) -> Json:
    when = {} if {"cron", "interval"} & fields.keys() else NEVER
    body = {"workflow_id": workflow_id, "name": "greets", "inputs": INPUTS, **when, **fields}
    answer = await http.post("/schedules", json=body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def runs_of(http: httpx.AsyncClient, schedule: Json, n: int = 0) -> list[Json]:
    """The times that it fired, the oldest first, as soon as there are `n`."""
    end = time.monotonic() + 60
    while True:
        answer = await http.get(f"/schedules/{schedule['id']}/runs")
        rows: list[Json] = answer.json()["runs"]
        if len(rows) >= n:
            return rows[::-1]
        assert time.monotonic() < end, rows
        await asyncio.sleep(0.05)


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)


async def ends(database: Database, tenant: UUID, execution_id: str, status: str = "completed") -> None:
    """As when the run of an execution ends."""
    async with database.transaction(tenant) as session:
        query = update(Execution).where(col(Execution.id) == UUID(execution_id))
        await session.execute(query.values(status=status))


async def test_what_is_wrong_is_named(http: httpx.AsyncClient, workflow_id: str) -> None:
    soon = (now() + timedelta(hours=1)).isoformat()
    cases: list[tuple[Json, str]] = [
        ({"cron": "* * * *"}, "cron[0]"),
        ({"cron": ["@daily", "61 * * * *"]}, "cron[1]"),
        ({"cron": []}, "cron"),
        ({"interval": 0}, "interval"),
        ({"interval": "soon"}, "interval"),
        ({"interval": 2.7}, "interval"),
        ({**NEVER, "timezone": "localtime"}, "timezone"),
        ({"cron": "@daily", "interval": 60}, "cron"),
        ({}, "cron"),
        ({**NEVER, "timezone": "Europe/Atlantis"}, "timezone"),
        ({**NEVER, "timezone": "../../etc/passwd"}, "timezone"),
        ({**NEVER, "timezone": "x\x00"}, "timezone"),
        ({**NEVER, "name": "\ud800"}, "name"),
        ({**NEVER, "overlap_policy": "sometimes"}, "overlap_policy"),
        ({**NEVER, "catchup_window": 1}, "catchup_window"),
        ({**NEVER, "catchup_window": 1e300}, "catchup_window"),
        ({**NEVER, "start_at": soon, "end_at": soon}, "end_at"),
        ({**NEVER, "inputs": {"name": ""}}, "inputs.name"),
        ({**NEVER, "inputs": {}}, "inputs"),
        ({**NEVER, "inputs": {"name": "x\x00"}}, "inputs.name"),
        ({**NEVER, "workflow_id": "x"}, "workflow_id"),
    ]
    for fields, path in cases:
        body = {"workflow_id": workflow_id, "name": "n", "inputs": INPUTS, **fields}
        answer = await http.post("/schedules", content=json.dumps(body))
        assert answer.status_code == 422, (fields, answer.text)
        paths = [problem["path"] for problem in answer.json()["error"]["details"]["errors"]]
        assert any(found.startswith(path) for found in paths), (fields, paths)
    body = {"workflow_id": str(UUID(int=7)), "name": "n", **NEVER}
    answer = await http.post("/schedules", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "WORKFLOW_NOT_FOUND")
    assert (await http.get("/schedules")).json()["total"] == 0


async def test_wrong_backfills(http: httpx.AsyncClient, workflow_id: str, temporal: Client) -> None:
    made = await make(http, workflow_id, interval=1)
    cases = [
        ({"from": "2026-01-02", "to": "2026-01-01"}, "to"),
        ({"from": "2026-01-02", "to": "2926-01-01"}, "to"),
        ({"from": "2026-01-02", "to": "2026-02-01"}, "from"),
        ({"to": "2026-02-01"}, "from"),
        ({"from": "yesterday", "to": "2026-02-01"}, "from"),
    ]
    for body, path in cases:
        answer = await http.post(f"/schedules/{made['id']}/backfill", json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert path in [problem["path"] for problem in answer.json()["error"]["details"]["errors"]], body


async def test_fires_and_lasts_as_long_as_its_run(
    http: httpx.AsyncClient, workflow_id: str, temporal: Client, database: Database, tenant: UUID
) -> None:
    made = await make(http, workflow_id, interval="PT1S")
    assert (made["synced"], made["interval"], made["inputs"]) == (True, 1.0, INPUTS)
    assert len(made["next_run_times"]) == 10
    [first] = await runs_of(http, made, 1)
    execution = (await http.get(f"/executions/{first['execution_id']}")).json()
    assert (execution["trigger_type"], execution["inputs"]) == (
        "scheduled",
        INPUTS,
    )
    assert execution["metadata"]["schedule_id"] == made["id"]

    async def skipped() -> bool:
        counts = (await http.get(f"/schedules/{made['id']}")).json()["counts"]
        return bool(counts["running"] == 1 and counts["skipped"] >= 1)

    await until(skipped)
    assert len(await runs_of(http, made)) == 1
    await ends(database, tenant, first["execution_id"])
    second = (await runs_of(http, made, 2))[1]
    assert second["execution_id"] != first["execution_id"]
    assert (await runs_of(http, made))[0]["execution_status"] == "completed"
    await http.delete(f"/schedules/{made['id']}")
    await ends(database, tenant, second["execution_id"])

    run_id = f"{names.schedule_id(tenant, made['id'])}-{first['scheduled_at']}"
    handle = temporal.get_workflow_handle(run_id)
    assert (await handle.result())["status"] == "completed"
    history = await handle.fetch_history()
    assert "canary" not in history.to_json()
    # in the sandbox, which the workers do without: this is what guards determinism
    replayer = Replayer(workflows=[ScheduledStart], data_converter=sealing_converter(database.keys))
    await replayer.replay_workflow(history)


async def test_a_time_that_fires_twice_has_one_execution(
    http: httpx.AsyncClient, workflow_id: str, temporal: Client, database: Database, tenant: UUID, settings: Settings
) -> None:
    made = await make(http, workflow_id)
    values = ValueStore(None, inline_bytes=100_000)  # type: ignore[arg-type]
    activities = ScheduleActivities(temporal, database, values, settings)
    fire = Fire(str(tenant), made["id"], "2026-11-22T10:00:00+00:00")
    fired = await asyncio.gather(*(activities.start(fire) for _ in range(4)))
    assert len({one.execution_id for one in fired}) == 1
    assert (await http.get("/executions")).json()["total"] == 1
    assert (await activities.start(Fire(str(tenant), made["id"], "2026-11-22T11:00:00+00:00"))) != fired[0]


async def test_refused_start_is_seen(
    http: httpx.AsyncClient, workflow_id: str, temporal: Client, database: Database, tenant: UUID
) -> None:
    made = await make(http, workflow_id)
    async with database.transaction(tenant) as session:
        query = update(Workflow).where(col(Workflow.id) == UUID(workflow_id))
        await session.execute(query.values(is_active=False))
    await http.post(f"/schedules/{made['id']}/trigger")
    [run] = await runs_of(http, made, 1)
    assert (run["status"], run["execution_id"], run["error"]["code"]) == ("refused", None, "WORKFLOW_NOT_ACTIVE")
    assert (await http.get(f"/schedules/{made['id']}")).json()["recent_runs"] == [run]
    assert (await http.get("/executions")).json()["total"] == 0


async def test_pause_trigger_resume(http: httpx.AsyncClient, workflow_id: str, temporal: Client) -> None:
    made = await make(http, workflow_id, cron=["0 0 1 1 *", "0 0 2 1 *"], timezone="Asia/Tokyo")
    assert made["cron"] == ["0 0 1 1 *", "0 0 2 1 *"]
    path = f"/schedules/{made['id']}"
    paused = (await http.post(f"{path}/pause", json={"note": "holidays"})).json()["schedule"]
    assert (paused["paused"], paused["note"], paused["next_run_times"]) == (True, "holidays", [])
    assert (await http.get("/schedules", params={"paused": True})).json()["total"] == 1
    # a key counts once, and for one request
    key = {"Idempotency-Key": "k1"}
    assert (await http.post(f"{path}/trigger", headers=key)).status_code == 202
    await runs_of(http, made, 1)
    assert (await http.post(f"{path}/trigger", headers=key)).status_code == 202
    other = await http.post(f"{path}/trigger", headers=key, json={"overlap_policy": "allow_all"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    resumed = (await http.post(f"{path}/resume")).json()["schedule"]
    assert (resumed["paused"], resumed["note"]) == (False, None)
    assert [when[5:] for when in resumed["next_run_times"][:2]] == ["12-31T15:00:00Z", "01-01T15:00:00Z"]
    assert len(await runs_of(http, made)) == 1


async def test_backfill_starts_each_time_once(http: httpx.AsyncClient, workflow_id: str, temporal: Client) -> None:
    made = await make(http, workflow_id, cron="0 */6 * * *")
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T12:00:00Z"}
    path = f"/schedules/{made['id']}"
    answer = await http.post(f"{path}/backfill", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["schedule"]["next_run_times"], "it goes on beside"
    await runs_of(http, made, 1)
    assert (await http.get(path)).json()["counts"]["skipped"] == 0, "the others wait"
    for _ in range(2):
        answer = await http.post(f"{path}/backfill", json={**body, "overlap_policy": "allow_all"})
        assert answer.status_code == 202, answer.text
    rows = await runs_of(http, made, 3)
    times = sorted(row["scheduled_at"] for row in rows)
    assert times == ["2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z", "2026-01-01T12:00:00Z"]
    assert (await http.get("/executions")).json()["total"] == 3


async def test_cancel_other_ends_the_run_before(
    http: httpx.AsyncClient, workflow_id: str, temporal: Client, database: Database, tenant: UUID
) -> None:
    made = await make(http, workflow_id, overlap_policy="cancel_other")
    await http.post(f"/schedules/{made['id']}/trigger")
    [first] = await runs_of(http, made, 1)
    run = temporal.get_workflow_handle(names.workflow_id(tenant, first["execution_id"]))
    before = datetime.now(UTC)
    # times are told apart by the second
    await until(lambda: _is_past(before + timedelta(seconds=1)))
    await http.post(f"/schedules/{made['id']}/trigger")

    async def told() -> bool:
        events = (await run.fetch_history()).events
        return any(event.workflow_execution_signaled_event_attributes.signal_name == "cancel" for event in events)

    await until(told)
    assert len(await runs_of(http, made)) == 1, "the next one waits until it has ended"
    await ends(database, tenant, first["execution_id"], "cancelled")
    await runs_of(http, made, 2)


async def _is_past(when: datetime) -> bool:
    return datetime.now(UTC) > when


async def test_cancelled_in_the_middle_of_a_look(temporal: Client) -> None:
    """Also then the execution is told to end."""
    looking, told = asyncio.Event(), asyncio.Event()

    @activity.defn(name="scheduled_status")
    async def status(started: Started) -> str:
        looking.set()
        if told.is_set():
            return "cancelled"
        await asyncio.Event().wait()
        return "running"

    @activity.defn(name="cancel_scheduled")
    async def cancel(started: Started) -> None:
        told.set()

    fire, name = Fire("a tenant", "a schedule", execution_id="an execution"), f"platform/{new_id()}"
    async with Worker(temporal, task_queue=name, workflows=[ScheduledStart], activities=[status, cancel]):
        run = await temporal.start_workflow(ScheduledStart.run, fire, id=name, task_queue=name)
        await asyncio.wait_for(looking.wait(), 60)
        await run.cancel()
        await asyncio.wait_for(told.wait(), 60)
        with pytest.raises(WorkflowFailureError) as ended:
            await run.result()
    assert isinstance(ended.value.cause, CancelledError)


async def test_local_times_stay_over_a_change_of_clocks(
    http: httpx.AsyncClient, workflow_id: str, temporal: Client
) -> None:
    made = await make(
        http, workflow_id, cron="0 9 * * *", timezone="Europe/Berlin", start_at="2027-03-27T00:00:00+01:00"
    )
    assert made["next_run_times"][:2] == ["2027-03-27T08:00:00Z", "2027-03-28T07:00:00Z"]


async def test_what_temporal_missed_it_is_told_later(
    settings: Settings, temporal: Client, database: Database, tenant: UUID, workflow_id: str
) -> None:
    away = settings.model_copy(update={"temporal_address": f"127.0.0.1:{free_port()}"})
    app = create_app(away)
    key = await add_key(database, tenant, settings.api_key_pepper.get_secret_value(), "write")
    transport, headers = httpx.ASGITransport(app, raise_app_exceptions=False), {"X-API-Key": key}
    keeper = ScheduleKeeper(temporal, database)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as http,
    ):
        made = await make(http, workflow_id)
        assert (made["synced"], made["next_run_times"], made["counts"]) == (False, [], None)
        assert (await http.post(f"/schedules/{made['id']}/trigger")).status_code == 503
        handle = handle_of(temporal, tenant, UUID(made["id"]))
        await _be_old(database, tenant)
        await keeper.once()
        assert (await handle.describe()).id.endswith(made["id"])
        assert (await http.get(f"/schedules/{made['id']}")).json()["synced"]

        # somebody deletes it in Temporal
        await handle.delete()
        keeper._compare_next = 0.0
        await keeper.once()
        assert (await handle.describe()).id.endswith(made["id"])

        assert (await http.delete(f"/schedules/{made['id']}")).status_code == 204
        assert (await http.get(f"/schedules/{made['id']}")).status_code == 404
        await _be_old(database, tenant)
        await keeper.once()

    async def is_gone() -> bool:
        try:
            await handle.describe()
        except RPCError:
            return True
        return False

    await until(is_gone)


async def _be_old(database: Database, tenant: UUID) -> None:
    """So that nobody thinks its request is still at work."""
    async with database.transaction(tenant) as session:
        await session.execute(update(Schedule).values(updated_at=now() - timedelta(minutes=1)))


async def test_another_tenant_and_who_sees_inputs(
    http: httpx.AsyncClient, workflow_id: str, temporal: Client, database: Database, settings: Settings
) -> None:
    made = await make(http, workflow_id)
    path = f"/schedules/{made['id']}"
    key = await add_key(database, await add_tenant(database), settings.api_key_pepper.get_secret_value(), "admin")
    requests = [
        ("GET", path, None),
        ("PATCH", path, {"name": "theirs"}),
        ("GET", f"{path}/runs", None),
        ("POST", f"{path}/pause", None),
        ("POST", f"{path}/resume", None),
        ("POST", f"{path}/trigger", None),
        ("POST", f"{path}/backfill", {"from": "2026-01-01", "to": "2026-01-02"}),
        ("POST", "/schedules", {"workflow_id": workflow_id, "name": "n", **NEVER}),
        ("DELETE", path, None),
    ]
    for method, where, body in requests:
        answer = await http.request(method, where, json=body, headers={"X-API-Key": key})
        assert answer.status_code == 404, (method, where, answer.text)
    assert (await http.get(path)).json()["name"] == "greets"
