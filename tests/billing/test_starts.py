"""Whether a run may begin: without credits, or without room in its budgets, every door answers 402 and nothing is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update
from sqlmodel import col

from activities.schedules.starting import ScheduleActivities
from activities.stores.encrypted import EncryptedStore
from activities.stores.factory import open_bytes
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.parking import ParkingRepository
from models.tables import ApiKey, Budget, Execution, IdempotencyKey, Schedule, ScheduleRun
from models.tables.base import now
from models.wire_schedules import Fire
from omium_core.credits import MICRO
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.billing.conftest import Payer
from tests.support.database import PostgresServer
from tests.support.light import WORKFLOW
from tests.support.loopback import free_port


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path,
        billing_enforced=True,
    )


@pytest.fixture
async def http(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with as_caller(await key_of(tenant, "admin")) as client:
        yield client


@pytest.fixture
async def workflow(http: httpx.AsyncClient) -> str:
    definition = {key: WORKFLOW[key] for key in ("name", "framework", "workflow_definition")}
    # nothing is checked by a worker here: there is none
    answer = await http.post("/api/v1/workflows", json=definition)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def executions(database: Database, tenant: UUID) -> list[Execution]:
    async with database.transaction(tenant) as db:
        return list((await db.execute(select(Execution).order_by(col(Execution.id)))).scalars())


def started(workflow: str, **more: Any) -> dict[str, Any]:
    return {"workflow_id": workflow, "inputs": {"name": "Ada"}, **more}


async def test_without_credits_nothing_begins(
    http: httpx.AsyncClient, workflow: str, payer: Payer, database: Database, tenant: UUID
) -> None:
    headers = {"Idempotency-Key": "once"}
    refused = await http.post("/api/v1/executions", json=started(workflow, budget=5), headers=headers)
    assert refused.status_code == 402
    error = refused.json()["error"]
    assert (error["code"], error["details"]) == ("CREDITS_EXHAUSTED", {"available": 0, "required": None})
    assert (await http.post(f"/api/v1/workflows/{workflow}/execute", json={})).status_code == 402
    assert await executions(database, tenant) == []
    async with database.transaction(tenant) as db:
        for table in (Budget, IdempotencyKey):
            assert (await db.execute(select(func.count()).select_from(table))).scalar_one() == 0

    await payer.grant(10)
    begun = await http.post("/api/v1/executions", json=started(workflow, budget=5), headers=headers)
    assert begun.status_code == 201, begun.text
    execution_id = begun.json()["execution"]["id"]
    # the same wish is the same execution, whatever has become of the money
    await payer.call(await payer.run(), 0, 10 * MICRO)
    again = await http.post("/api/v1/executions", json=started(workflow, budget=5), headers=headers)
    assert (again.status_code, again.json()["execution"]["id"]) == (201, execution_id)
    other = await http.post("/api/v1/executions", json=started(workflow, budget=6), headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    budget = (await http.get("/api/v1/billing/budgets", params={"scope": "execution"})).json()["budgets"][0]
    assert (budget["scope_id"], budget["amount"]) == (execution_id, 5)
    async with database.transaction(tenant) as db:
        row = await db.get_one(Execution, UUID(execution_id))
        assert (
            row.api_key_id == (await db.execute(select(col(ApiKey.id)).order_by(col(ApiKey.id)).limit(1))).scalar_one()
        )
    missing = await http.post("/api/v1/executions", json=started("01a203d5-abab-76ed-bcbd-95b89b040ef1"))
    assert missing.status_code == 404, "what is not there is not paid for"


async def test_run_that_waits_already_comes_first(
    http: httpx.AsyncClient, workflow: str, payer: Payer, database: Database, tenant: UUID
) -> None:
    await payer.grant(5)
    waiting = await payer.run("paused")

    async def park(reason: str, required: int, budget_id: UUID | None = None) -> None:
        async with database.transaction(tenant) as db:
            own = update(Execution).where(col(Execution.id) == waiting.execution)
            await db.execute(own.values(status="paused", reason=reason))
            await ParkingRepository(db, tenant).park(waiting.execution, reason, required, budget_id)

    await park("credits", 6 * MICRO)
    refused = await http.post("/api/v1/executions", json=started(workflow))
    assert refused.json()["error"]["details"] == {"available": 5, "required": 6}
    await payer.grant(1)
    assert (await http.post("/api/v1/executions", json=started(workflow))).status_code == 201
    # a row that its run has left behind keeps nobody from beginning
    await park("credits", 60 * MICRO)
    await payer.execute(update(Execution).where(col(Execution.id) == waiting.execution).values(reason="operator"))
    assert (await http.post("/api/v1/executions", json=started(workflow))).status_code == 201

    budget = (await http.post("/api/v1/billing/budgets", json={"scope": "tenant", "amount": 4})).json()
    await park("budget", 5 * MICRO, UUID(budget["id"]))
    refused = await http.post("/api/v1/executions", json=started(workflow))
    assert refused.json()["error"]["code"] == "BUDGET_EXCEEDED"
    assert refused.json()["error"]["details"] == {
        "budget_id": budget["id"],
        "scope": "tenant",
        "available": 4,
        "required": 5,
    }


async def test_budgets_of_workflow_key_and_tenant(
    http: httpx.AsyncClient, workflow: str, payer: Payer, database: Database, tenant: UUID
) -> None:
    await payer.grant(100)
    async with database.transaction(tenant) as db:
        key: UUID = (await db.execute(select(col(ApiKey.id)).limit(1))).scalar_one()
    for scope, scope_id in (("tenant", None), ("workflow", workflow), ("api_key", str(key))):
        body = {"scope": scope, "scope_id": scope_id, "amount": 0, "period": "month"}
        budget = (await http.post("/api/v1/billing/budgets", json=body)).json()
        refused = await http.post("/api/v1/executions", json=started(workflow))
        assert refused.status_code == 402, scope
        assert refused.json()["error"]["details"]["budget_id"] == budget["id"]
        assert (await http.delete(f"/api/v1/billing/budgets/{budget['id']}")).status_code == 204
    # one of something else
    other = await payer.run()
    body = {"scope": "execution", "scope_id": str(other.execution), "amount": 0}
    assert (await http.post("/api/v1/billing/budgets", json=body)).status_code == 201
    assert (await http.post("/api/v1/executions", json=started(workflow))).status_code == 201


async def test_forks_and_retries(
    http: httpx.AsyncClient, workflow: str, payer: Payer, database: Database, tenant: UUID
) -> None:
    await payer.grant(5)
    origin = (await http.post("/api/v1/executions", json=started(workflow))).json()["execution"]["id"]
    async with database.transaction(tenant) as db:
        row = await db.get_one(Execution, UUID(origin))
        row.status, row.admitted_at = "failed", now()
        db.add(row)
    spent = await payer.run()
    await payer.call(spent, 0, 5 * MICRO)
    retried = await http.post(f"/api/v1/executions/{origin}/retry", headers={"Idempotency-Key": "retry"})
    assert (retried.status_code, retried.json()["error"]["code"]) == (402, "CREDITS_EXHAUSTED")
    body = {"checkpoint_id": str(spent.checkpoint)}
    forked = await http.post(f"/api/v1/executions/{spent.execution}/fork", json=body)
    assert forked.status_code == 402, forked.text
    await payer.grant(5)
    budget = (await http.put(f"/api/v1/executions/{origin}/budget", json={"amount": 0})).json()
    retried = await http.post(f"/api/v1/executions/{origin}/retry", headers={"Idempotency-Key": "retry"})
    assert retried.json()["error"]["details"]["budget_id"] == budget["id"]
    assert (await http.delete(f"/api/v1/billing/budgets/{budget['id']}")).status_code == 204
    retried = await http.post(f"/api/v1/executions/{origin}/retry", headers={"Idempotency-Key": "retry"})
    assert retried.status_code == 200, retried.text


async def test_schedule_without_money_is_refused(
    app: FastAPI,
    http: httpx.AsyncClient,
    workflow: str,
    payer: Payer,
    database: Database,
    tenant: UUID,
    settings: Settings,
) -> None:
    async with database.transaction(tenant) as db:
        schedule = Schedule(
            tenant_id=tenant,
            workflow_id=UUID(workflow),
            name="mornings",
            cron=["0 7 * * *"],
            timezone="UTC",
            inputs={"name": "Ada"},
        )
        db.add(schedule)
    values = ValueStore(EncryptedStore(open_bytes(settings), database.keys), inline_bytes=settings.inline_bytes)
    activities = ScheduleActivities(app.state.wiring.temporal, database, values, settings)
    at = datetime(2026, 1, 1, 7, tzinfo=UTC).isoformat()
    assert (await activities.start(Fire(str(tenant), str(schedule.id), at))).refused == "CREDITS_EXHAUSTED"
    async with database.transaction(tenant) as db:
        run: ScheduleRun = (await db.execute(select(ScheduleRun))).scalar_one()
        assert (run.status, run.error_code) == ("refused", "CREDITS_EXHAUSTED")
    assert await executions(database, tenant) == []
