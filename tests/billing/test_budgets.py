"""Budgets over the API: what they count, what may be said of them, who may say it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from models.database import Database
from models.repositories.budgets import BudgetRepository
from models.repositories.limits import month_of
from models.tables import ApiKey, AuditLog, Budget, Execution
from tests.api.conftest import Caller, KeyMaker
from tests.billing.conftest import Payer
from tests.support.tenants import add_tenant

BUDGETS = "/api/v1/billing/budgets"


@pytest.fixture
async def http(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with as_caller(await key_of(tenant, "admin")) as client:
        yield client


async def made(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await http.post(BUDGETS, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_budget_from_its_making_to_its_end(http: httpx.AsyncClient, payer: Payer, tenant: UUID) -> None:
    budget = await made(http, scope="tenant", period="month", amount=12.5, thresholds=[90, 50, 90])
    assert (budget["amount"], budget["spent"], budget["held"], budget["remaining"]) == (12.5, 0, 0, 12.5)
    assert (budget["thresholds"], budget["used_percent"]) == ([50, 90], 0)
    assert budget["period_start"] == str(month_of())
    assert budget["resets_at"] > budget["created_at"]

    await payer.grant(100)
    await payer.call(await payer.run(), 0, 2_500_000)
    shown = (await http.get(f"{BUDGETS}/{budget['id']}")).json()
    assert (shown["spent"], shown["remaining"], shown["used_percent"]) == (2.5, 10, 20)

    lowered = await http.put(f"{BUDGETS}/{budget['id']}", json={"amount": 2})
    assert (lowered.status_code, lowered.json()["remaining"]) == (200, -0.5)
    assert lowered.json()["thresholds"] == [50, 90]
    found = (await http.get(BUDGETS, params={"scope": "tenant"})).json()
    assert (found["total"], found["budgets"][0]["id"]) == (1, budget["id"])

    assert (await http.delete(f"{BUDGETS}/{budget['id']}")).status_code == 204
    assert (await http.get(f"{BUDGETS}/{budget['id']}")).json()["error"]["code"] == "BUDGET_NOT_FOUND"
    async with payer.database.transaction(tenant) as db:
        query = select(col(AuditLog.action)).where(col(AuditLog.resource_type) == "budget").order_by(col(AuditLog.id))
        assert list((await db.execute(query)).scalars()) == ["budget.create", "budget.update", "budget.delete"]


async def test_spending_before_a_budget_counts(http: httpx.AsyncClient, payer: Payer, tenant: UUID) -> None:
    await payer.grant(100)
    one, other = await payer.run(), await payer.run()
    async with payer.database.transaction(tenant) as db:
        key: UUID = (await db.execute(select(col(ApiKey.id)).limit(1))).scalar_one()
        await db.execute(update(Execution).where(col(Execution.id) == one.execution).values(api_key_id=key))
        await db.execute(update(Execution).where(col(Execution.id) == other.execution).values(root_id=one.execution))
        workflow: UUID = (
            await db.execute(select(col(Execution.workflow_id)).where(col(Execution.id) == one.execution))
        ).scalar_one()
    await payer.call(one, 0, 3_000_000)
    await payer.call(other, 0, 4_000_000)
    for scope, scope_id, spent in (
        ("tenant", None, 7),
        ("api_key", key, 3),
        ("workflow", workflow, 3),
        ("execution", one.execution, 7),
        ("execution", other.execution, 4),
    ):
        body = {"scope": scope, "amount": 10, "scope_id": None if scope_id is None else str(scope_id)}
        assert (await made(http, **body))["spent"] == spent, scope
    # from now on both count
    await payer.call(other, 1, 1_000_000)
    shown = (await http.get(BUDGETS, params={"scope": "execution"})).json()["budgets"]
    assert sorted(budget["spent"] for budget in shown) == [5, 8]


async def test_a_month_begins_anew(http: httpx.AsyncClient, payer: Payer, tenant: UUID) -> None:
    budget = await made(http, scope="tenant", period="month", amount=5)
    past = update(Budget).values(period_start=month_of().replace(year=2020), spent=5_000_000)
    await payer.execute(past)
    shown = (await http.get(f"{BUDGETS}/{budget['id']}")).json()
    assert (shown["spent"], shown["remaining"], shown["period_start"]) == (0, 5, str(month_of()))
    await payer.grant(100)
    await payer.call(await payer.run(), 0, 1_000_000)
    assert (await http.get(f"{BUDGETS}/{budget['id']}")).json()["spent"] == 1


NO_BUDGETS: list[tuple[dict[str, Any], str]] = [
    ({"amount": -1}, "amount"),
    ({"amount": 1e9 + 1}, "amount"),
    ({"amount": 0.0000001}, "amount"),
    ({"amount": "NaN"}, "amount"),
    ({"amount": "many"}, "amount"),
    ({"amount": True}, "amount"),
    ({"amount": None}, "amount"),
    ({"thresholds": [0]}, "thresholds[0]"),
    ({"scope": "planet"}, "scope"),
    ({"period": "day"}, "period"),
    ({"scope": "workflow"}, "scope_id"),
    ({"scope_id": str(uuid4())}, "scope_id"),
]


async def test_what_is_no_budget(http: httpx.AsyncClient) -> None:
    for change, path in NO_BUDGETS:
        answer = await http.post(BUDGETS, json={"scope": "tenant", "amount": 5, **change})
        assert answer.status_code == 422, (change, answer.text)
        assert path in [error["path"] for error in answer.json()["error"]["details"]["errors"]], change


async def test_budget_of_what_is_not_there(
    http: httpx.AsyncClient, database: Database, payer: Payer, as_caller: Caller, key_of: KeyMaker
) -> None:
    for scope in ("workflow", "api_key", "execution"):
        answer = await http.post(BUDGETS, json={"scope": scope, "scope_id": str(uuid4()), "amount": 1})
        assert answer.status_code == 404, answer.text
    stranger_id = await add_tenant(database)
    foreign = await Payer(database, stranger_id).run()
    answer = await http.post(BUDGETS, json={"scope": "execution", "scope_id": str(foreign.execution), "amount": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "EXECUTION_NOT_FOUND")
    assert (await http.put(f"/api/v1/executions/{foreign.execution}/budget", json={"amount": 1})).status_code == 404
    budget = await made(http, scope="tenant", amount=1)
    async with as_caller(await key_of(payer.tenant, "read")) as reader:
        assert (await reader.delete(f"{BUDGETS}/{budget['id']}")).status_code == 403
    async with as_caller(await key_of(stranger_id, "admin")) as stranger:
        for answer in (
            await stranger.get(f"{BUDGETS}/{budget['id']}"),
            await stranger.put(f"{BUDGETS}/{budget['id']}", json={"amount": 9}),
            await stranger.delete(f"{BUDGETS}/{budget['id']}"),
        ):
            assert answer.status_code == 404


async def test_one_budget_of_a_kind_and_one_for_a_key(http: httpx.AsyncClient) -> None:
    body, headers = {"scope": "tenant", "amount": 5}, {"Idempotency-Key": "once"}
    first = await http.post(BUDGETS, json=body, headers=headers)
    again = await http.post(BUDGETS, json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    other = await http.post(BUDGETS, json={**body, "amount": 6}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    twice = await http.post(BUDGETS, json=body)
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "BUDGET_EXISTS")
    assert twice.json()["error"]["details"]["budget_id"] == first.json()["id"]
    await made(http, **body, period="month")


async def test_budget_of_a_run_is_set_and_changed(http: httpx.AsyncClient, payer: Payer, tenant: UUID) -> None:
    run = await payer.run()
    await payer.grant(10)
    await payer.call(run, 0, 1_000_000)
    path = f"/api/v1/executions/{run.execution}/budget"
    none = await http.get(path)
    assert (none.status_code, none.json()["error"]["code"]) == (404, "BUDGET_NOT_FOUND")
    first = (await http.put(path, json={"amount": 2})).json()
    assert (first["amount"], first["spent"], first["scope_id"]) == (2, 1, str(run.execution))
    second = (await http.put(path, json={"amount": 0.25})).json()
    assert (second["id"], second["remaining"]) == (first["id"], -0.75)
    # a month's is made besides; a fork has that of the run that it comes from, until it is given its own
    fork = await payer.run()
    await payer.execute(update(Execution).where(col(Execution.id) == fork.execution).values(root_id=run.execution))
    await made(http, scope="execution", scope_id=str(run.execution), period="month", amount=50)
    shared = f"/api/v1/executions/{fork.execution}/budget"
    assert (await http.get(path)).json() == (await http.get(shared)).json() == second
    own = (await http.put(shared, json={"amount": 5})).json()
    assert (await http.get(shared)).json() == own
    assert own["id"] != second["id"]


async def test_alerts(http: httpx.AsyncClient, payer: Payer, tenant: UUID) -> None:
    assert (await http.get("/api/v1/billing/alerts")).json() == {"low_credits": 100}
    assert (await http.put("/api/v1/billing/alerts", json={"low_credits": 7.5})).json() == {"low_credits": 7.5}
    assert (await http.get("/api/v1/billing/alerts")).json() == {"low_credits": 7.5}
    await payer.grant(8)
    await payer.call(await payer.run(), 0, 1_000_000)
    async with payer.database.transaction(tenant) as db:
        assert await BudgetRepository(db, tenant).find("tenant", None) is None
    refused = await http.put("/api/v1/billing/alerts", json={"low_credits": -1})
    assert refused.json()["error"]["details"]["errors"][0]["path"] == "low_credits"
