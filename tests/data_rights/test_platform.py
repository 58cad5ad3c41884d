"""Exports and erasures as people ask for them, carried out by a worker on a real Temporal."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel import col, select, update
from temporalio.client import Client, ScheduleActionExecutionStartWorkflow
from temporalio.service import RPCError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from activities.maintenance import rollups
from activities.maintenance.erasing import KEPT
from activities.maintenance.sealing import Sealer
from activities.maintenance.verification import verify_tenant
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from models.database import Database
from models.tables import Checkpoint, DataRequest, Execution, Tenant, User
from models.tables import Table as Base
from models.tables.base import new_id
from omium_core import temporal as names
from omium_core.errors import TenantErased
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.data_rights.conftest import PASSWORD, Person
from tests.support.temporal import serving
from tests.support.tenants import Owned, add_execution, add_tenant
from workers.housekeeping import schedule_retention, schedule_rollups

CANARY = "canary-7f3a"


@pytest.fixture
def settings(settings: Settings, temporal: str) -> Settings:
    return settings.model_copy(update={"temporal_address": temporal})


async def until(look: Callable[[], Awaitable[dict[str, Any]]], *statuses: str) -> dict[str, Any]:
    """What there is to be seen when it has one of these statuses."""

    @retry(
        retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.05), stop=stop_after_delay(30), reraise=True
    )
    async def ask() -> dict[str, Any]:
        seen = await look()
        assert seen["status"] in statuses, seen
        return seen

    return await ask()


async def with_a_state(database: Database, values: ValueStore, tenant: UUID) -> Owned:
    """An execution whose checkpoint is in the object store, as large as states can be."""
    row = await add_execution(database, tenant)
    blob = await values.put(str(tenant), {"secret": CANARY, "text": "x" * 50_000})
    async with database.transaction(tenant) as session:
        await session.execute(
            update(Checkpoint)
            .where(col(Checkpoint.id) == row.checkpoint)
            .values(checksum=blob.key, state_size_bytes=blob.size)
        )
        await session.execute(
            update(Execution).where(col(Execution.id) == row.execution).values(inputs={"topic": CANARY})
        )
    return row


def opened(content: bytes) -> dict[str, list[Any]]:
    """The files of a zip: their lines as JSON."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return {
        name: [json.loads(line) for line in archive.read(name).splitlines()]
        for name in archive.namelist()
        if name != "export.json"
    }


async def test_export_of_a_tenant(
    owner: Person, worker: Client, database: Database, values: ValueStore, objects: FileStore
) -> None:
    row = await with_a_state(database, values, owner.tenant)
    theirs = await with_a_state(database, values, await add_tenant(database))
    made = await owner.http.post("/api/v1/tenant/exports")
    assert made.status_code == 202, made.text
    address = f"/api/v1/tenant/exports/{made.json()['id']}"

    async def look() -> dict[str, Any]:
        answer: dict[str, Any] = (await owner.http.get(address)).json()
        return answer

    ready = await until(look, "ready")
    assert (ready["progress"], ready["rows_done"]) == (1.0, ready["rows_total"])
    download = await owner.http.get(ready["download_url"])
    assert download.headers["content-type"] == "application/zip"
    files = opened(download.content)
    [execution] = files["executions.jsonl"]
    assert (execution["id"], execution["inputs"]) == (str(row.execution), {"topic": CANARY})
    [state] = [lines for name, lines in files.items() if name.startswith("blobs/")]
    assert state[0]["secret"] == CANARY
    assert files["audit_logs.jsonl"], "with what the log says"
    assert str(theirs.tenant_id) not in download.text
    assert files["sessions.jsonl"][0]["user_id"] == str(owner.user)
    assert "salt" not in files["sessions.jsonl"][0]
    assert not {"tenant_keys.jsonl", "audit_chain.jsonl"} & files.keys()
    parts = [key async for key in objects.list(f"{owner.tenant}/exports/")]
    assert parts
    for key in parts:
        assert CANARY.encode() not in await objects.get(key), "sealed"


async def test_export_goes_on_after_a_worker_died(
    owner: Person, settings: Settings, database: Database, values: ValueStore
) -> None:
    await with_a_state(database, values, owner.tenant)
    made = (await owner.http.post("/api/v1/tenant/exports")).json()
    assert made["status"] == "pending"
    again = await owner.http.post("/api/v1/tenant/exports")
    assert again.status_code == 409, "one at a time"

    async def look() -> dict[str, Any]:
        answer: dict[str, Any] = (await owner.http.get(f"/api/v1/tenant/exports/{made['id']}")).json()
        return answer

    async with serving(settings):
        await until(look, "running", "ready")
    async with serving(settings):
        await until(look, "ready")
    download = await owner.http.get(f"/api/v1/tenant/exports/{made['id']}/download")
    assert len(opened(download.content)["executions.jsonl"]) == 1


async def test_erasure_of_a_tenant(
    owner: Person,
    worker: Client,
    database: Database,
    values: ValueStore,
    objects: FileStore,
    settings: Settings,
) -> None:
    tenant = owner.tenant
    row = await with_a_state(database, values, tenant)
    other = await with_a_state(database, values, await add_tenant(database))
    run = names.workflow_id(tenant, row.execution)
    await worker.start_workflow(names.RUN_WORKFLOW, CANARY, id=run, task_queue="nobody")
    address = "/api/v1/tenant/erasure"
    wrong = await owner.http.post(address, json={"confirm": "another", "password": PASSWORD})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "INVALID_INPUT")
    for password in ({}, {"password": "guessed-wrong"}):
        assert (await owner.http.post(address, json={"confirm": owner.slug, **password})).status_code == 401
    asked = await owner.http.post(address, json={"confirm": owner.slug, "password": PASSWORD})
    assert asked.status_code == 202, asked.text

    async def look() -> dict[str, Any]:
        async with database.system() as session:
            request = await session.get_one(DataRequest, UUID(asked.json()["id"]))
            return {"status": request.status}

    await until(look, "completed")
    assert (await owner.http.get("/api/v1/workflows")).status_code == 401
    with pytest.raises(TenantErased):
        await database.keys.cipher(tenant)
    with pytest.raises(RPCError, match="not found"):
        await worker.get_workflow_handle(run).describe()
    assert [key async for key in objects.list(f"{tenant}/")] == []
    assert await left(settings, tenant) - {"audit_pending"} == KEPT - {"audit_pending", "audit_chain"}
    async with database.system() as session:
        tombstone = await session.get_one(Tenant, tenant)
        assert (tombstone.name, tombstone.slug) == ("Erased", f"erased-{tenant}")
        known = await session.execute(
            text("SELECT count(*) FROM accounts WHERE email = :email"), {"email": owner.email}
        )
        assert known.scalar_one() == 0, "who belongs to no other tenant is not known any more"
    # the log says that there was an erasure, and nothing about anybody
    while await Sealer(database, settings, objects).seal():
        pass
    assert (await verify_tenant(database, tenant)).valid
    async with database.transaction(other.tenant_id) as session:
        query = select(Execution.inputs).where(col(Execution.id) == other.execution)
        assert (await session.execute(query)).scalar_one() == {"topic": CANARY}, "another tenant's are untouched"


async def left(settings: Settings, tenant: UUID) -> set[str]:
    """The tables that still have rows of a tenant, looked at by the owner of the database."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value().replace("+asyncpg", ""))
    found = set()
    for table in Base.metadata.sorted_tables:
        column = "id" if table.name == "tenants" else "tenant_id"
        if column in table.c and await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM {table.name} WHERE {column} = $1)", tenant
        ):
            found.add(table.name)
    await connection.close()
    return found


async def test_erasure_is_taken_back_in_the_time_of_grace(owner: Person, worker: Client) -> None:
    address = "/api/v1/tenant/erasure"
    wanted = {"confirm": owner.slug, "password": PASSWORD}
    asked = await owner.http.post(address, json={**wanted, "grace_days": 7})
    assert asked.status_code == 202, asked.text
    assert (await owner.http.post(address, json=wanted)).status_code == 409
    assert (await owner.http.get(address)).json()["status"] == "pending"
    back = await owner.http.delete(address)
    assert (back.status_code, back.json()["status"]) == (200, "cancelled"), back.text
    assert (await owner.http.delete(address)).status_code == 409
    await worker.get_workflow_handle(names.erasure_id(asked.json()["id"])).result()
    assert (await owner.http.get("/api/v1/workflows")).status_code == 200
    assert (await owner.http.get(address)).json()["status"] == "cancelled"


async def test_who_may(as_caller: Caller, key_of: KeyMaker, owner: Person) -> None:
    async with as_caller(await key_of(owner.tenant, "read", "write", "admin")) as admin:
        assert (await admin.post("/api/v1/tenant/erasure", json={"confirm": "x"})).status_code == 403
        # people of another tenant do not exist
        assert (await admin.post(f"/api/v1/users/{new_id()}/exports")).status_code == 404
        assert (await admin.post(f"/api/v1/users/{new_id()}/erasure")).status_code == 404
    async with as_caller(await key_of(owner.tenant, "admin", permissions=["tenant:export"])) as blind:
        refused = await blind.post("/api/v1/tenant/exports")
        assert (refused.status_code, refused.json()["error"]["details"]) == (403, {"permission": "payload:read"})
    assert (await owner.http.get(f"/api/v1/tenant/exports/{new_id()}")).status_code == 404
    assert (await owner.http.get("/api/v1/tenant/erasure")).status_code == 404


async def test_export_and_erasure_of_a_person(
    register: Callable[[], Awaitable[Person]], owner: Person, worker: Client, database: Database
) -> None:
    last = await owner.http.post(f"/api/v1/users/{owner.user}/erasure")
    assert last.status_code == 409, "a tenant keeps an owner"
    user = User(tenant_id=owner.tenant, email="bob@example.com", full_name="Bob Canary", first_name="Bob")
    async with database.transaction(owner.tenant) as session:
        session.add(user)
    made = (await owner.http.post(f"/api/v1/users/{user.id}/exports")).json()

    async def look() -> dict[str, Any]:
        answer: dict[str, Any] = (await owner.http.get(f"/api/v1/tenant/exports/{made['id']}")).json()
        return answer

    ready = await until(look, "ready")
    files = opened((await owner.http.get(ready["download_url"])).content)
    assert [person["full_name"] for person in files["users.jsonl"]] == ["Bob Canary"]
    assert "tenants.jsonl" not in files, "what is about the person alone"

    done = await owner.http.post(f"/api/v1/users/{user.id}/erasure")
    assert (done.status_code, done.json()["status"]) == (200, "completed"), done.text
    async with database.transaction(owner.tenant) as session:
        row = await session.get_one(User, user.id)
        shown = row.model_dump_json()
    assert row.removed_at is not None
    assert "bob" not in shown.lower()
    entries = (await owner.http.get("/api/v1/audit-logs", params={"resource_id": str(user.id)})).json()["audit_logs"]
    assert entries[0]["action"] == "user.erase"
    assert (await owner.http.post(f"/api/v1/users/{user.id}/erasure")).status_code == 200, "may be repeated"


async def test_retention_is_scheduled_once_and_runs(worker: Client, database: Database) -> None:
    assert [await schedule_retention(worker), await schedule_retention(worker)] == [True, False]
    await triggered(worker, names.RETENTION_SCHEDULE)


async def test_roll_ups_are_scheduled_once_and_run(
    worker: Client, database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "WORTH", 6)
    for _ in range(6):
        await add_execution(database, tenant, status="completed")
    assert [await schedule_rollups(worker), await schedule_rollups(worker)] == [True, False]
    await triggered(worker, names.ROLLUP_SCHEDULE)
    async with database.transaction(tenant) as session:
        rolled = text("SELECT size, sum(executions) FROM execution_rollups GROUP BY size ORDER BY size")
        assert {tuple(row) for row in await session.execute(rolled)} > {("day", 6), ("hour", 6)}


async def triggered(worker: Client, name: str) -> None:
    """Lets a schedule do now what it does; returns when that has been done well."""
    schedule = worker.get_schedule_handle(name)
    await schedule.trigger()

    async def look() -> dict[str, Any]:
        actions = (await schedule.describe()).info.recent_actions
        if not actions:
            return {"status": "not begun"}
        started = actions[-1].action
        assert isinstance(started, ScheduleActionExecutionStartWorkflow)
        run = await worker.get_workflow_handle(started.workflow_id).describe()
        return {"status": run.status.name if run.status else ""}

    await until(look, "COMPLETED")
