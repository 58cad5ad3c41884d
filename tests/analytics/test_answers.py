"""What is asked, and what is answered: periods, zones, files, permissions, and nothing of other tenants."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from models.database import Database
from models.repositories.limits import add_calls, month_of
from models.tables.base import now
from tests.analytics.naive import utc
from tests.analytics.runs import MadeRun, MadeStep, add_workflow, write
from tests.api.conftest import Caller, KeyMaker
from tests.support.tenants import add_tenant

ALL = ("executions", "usage", "costs", "failures", "checkpoints")


async def ask(http: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await http.get(f"/api/v1/analytics/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["analytics"]
    return found


async def run_at(database: Database, tenant: UUID, at: Any, status: str = "completed", **more: Any) -> MadeRun:
    run = MadeRun(await add_workflow(database, tenant, more.pop("name", "flow")), "langgraph", status, at, **more)
    await write(database, tenant, run)
    return run


async def test_nothing_is_zeros(http: httpx.AsyncClient) -> None:
    found = await ask(http, "executions", start_date="2020-01-01", end_date="2020-12-31")
    assert (found["total_executions"], found["successful"], found["failed"], found["total_cost_usd"]) == (0, 0, 0, 0)
    assert (found["success_rate"], found["avg_duration_ms"], found["p95_duration_ms"]) == (None, None, None)
    assert (found["by_day"], found["failure_breakdown"]) == ([], {})
    for path in ALL[1:]:
        told = await ask(http, path, start_date="2020-01-01", end_date="2020-12-31")
        assert not any(value for name, value in told.items() if name != "period"), path


async def test_without_a_period_it_is_the_last_thirty_days(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    await run_at(database, tenant, today)
    await run_at(database, tenant, today - timedelta(days=29))
    await run_at(database, tenant, today - timedelta(days=29, seconds=1))
    found = await ask(http, "executions")
    assert found["total_executions"] == 2
    assert found["period"] == {
        "start": (today - timedelta(days=29)).isoformat().replace("+00:00", "Z"),
        "end": (today + timedelta(days=1)).isoformat().replace("+00:00", "Z"),
        "timezone": "UTC",
        "group_by": "day",
    }
    # one that only ends, and one that only begins
    before = (today - timedelta(days=2)).date().isoformat()
    assert (await ask(http, "executions", end_date=before))["total_executions"] == 2
    assert (await ask(http, "executions", start_date=before))["total_executions"] == 1


async def test_days_and_moments_are_included(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    await run_at(database, tenant, utc(2026, 3, 1, 12))
    day = {"start_date": "2026-03-01", "end_date": "2026-03-01"}
    assert (await ask(http, "executions", **day))["total_executions"] == 1
    moment = {"start_date": "2026-03-01T12:00:00Z", "end_date": "2026-03-01T12:00:00Z"}
    assert (await ask(http, "executions", **moment))["total_executions"] == 1
    elsewhere = {"start_date": "2026-03-01T13:00:00+01:00", "end_date": "2026-03-01T13:00", "timezone": "Europe/Berlin"}
    assert (await ask(http, "executions", **elsewhere))["total_executions"] == 1
    after = {"start_date": "2026-03-01T12:00:00.000001Z", "end_date": "2026-03-02"}
    assert (await ask(http, "executions", **after))["total_executions"] == 0


async def test_a_day_is_that_of_the_zone(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    await run_at(database, tenant, utc(2026, 3, 1, 23, 30))
    berlin = {"start_date": "2026-03-02", "end_date": "2026-03-02", "timezone": "Europe/Berlin"}
    assert [day["date"] for day in (await ask(http, "executions", **berlin))["by_day"]] == ["2026-03-02"]
    hours = await ask(http, "executions", group_by="hour", **berlin)
    assert [hour["hour"] for hour in hours["by_hour"]] == ["2026-03-02T00:00:00+01:00"]


NONSENSE: list[tuple[dict[str, str], str]] = [
    ({"start_date": "yesterday"}, "start_date"),
    ({"start_date": ""}, "start_date"),
    ({"end_date": "2026-02-30"}, "end_date"),
    ({"end_date": "2026-03-01T25:00"}, "end_date"),
    ({"start_date": "0001-01-01"}, "start_date"),
    ({"end_date": "9999-12-31"}, "end_date"),
    ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, "start_date"),
    ({"start_date": "2026-03-01T12:00:00Z", "end_date": "2026-03-01T11:00:00Z"}, "start_date"),
    ({"timezone": "Mars/Olympus"}, "timezone"),
    ({"timezone": "../../etc/passwd"}, "timezone"),
    ({"start_date": "2026-01-01", "end_date": "2026-03-01", "group_by": "hour"}, "group_by"),
]


async def test_a_period_that_makes_no_sense_names_its_field(http: httpx.AsyncClient) -> None:
    for query, field in NONSENSE:
        for path in ("executions", "failures", "reports/usage"):
            answer = await http.get(f"/api/v1/analytics/{path}", params=query)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (422, "INVALID_INPUT"), (path, query)
            assert [problem["path"] for problem in error["details"]["errors"]] == [field], (path, query)


async def test_analytics_and_billing_refuse_alike(http: httpx.AsyncClient) -> None:
    for query in ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"start_date": "x"}, {"group_by": "x"}):
        told = [await http.get(f"/api/v1/{path}/usage", params=query) for path in ("analytics", "billing")]
        assert {answer.status_code for answer in told} == {422}
        errors = [answer.json()["error"] for answer in told]
        assert {error["code"] for error in errors} == {"INVALID_INPUT"}
        assert [[one["path"] for one in error["details"]["errors"]] for error in errors] == [[*query][:1]] * 2


async def test_what_is_no_choice_is_refused(http: httpx.AsyncClient) -> None:
    for query in ({"group_by": "agent"}, {"status": "broken"}, {"workflow_id": "x"}):
        assert (await http.get("/api/v1/analytics/executions", params=query)).status_code == 422, query


async def test_filters(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    at = utc(2026, 3, 1)
    failed = await run_at(database, tenant, at, "failed", failures=["timeout"], name="first")
    await run_at(database, tenant, at)
    day = {"start_date": "2026-03-01", "end_date": "2026-03-01"}
    mine = await ask(http, "executions", workflow_id=failed.workflow, group_by="workflow", **day)
    assert [(row["workflow_id"], row["workflow_name"]) for row in mine["by_workflow"]] == [
        (str(failed.workflow), "first")
    ]
    assert (mine["total_executions"], mine["failure_breakdown"]) == (1, {"timeout": 1})
    assert (await ask(http, "executions", status="completed", **day))["failed"] == 0
    assert (await ask(http, "executions", framework="crewai", **day))["total_executions"] == 0
    assert (await ask(http, "failures", workflow_id=failed.workflow, **day))["by_type"] == {"timeout": 1}
    assert (await ask(http, "failures", status="completed", **day))["total"] == 0
    assert (await ask(http, "usage", workflow_id=failed.workflow, **day))["executions"] == 1


async def test_requests_are_counted_by_the_hour(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    for calls in (3, 4):
        async with database.system() as session:
            await add_calls(session, month_of(), {tenant: calls})
    found = await ask(http, "usage", start_date=now().date().isoformat())
    assert (found["api_calls"], found["by_day"][0]["api_calls"]) == (7, 7)
    assert (await ask(http, "usage", group_by="workflow"))["api_calls"] is None


async def test_nothing_of_another_tenant(
    database: Database, as_caller: Caller, key_of: KeyMaker, http: httpx.AsyncClient, tenant: UUID
) -> None:
    other = await add_tenant(database)
    at = utc(2026, 3, 1)
    theirs = await run_at(
        database, other, at, "failed", failures=["timeout"], steps=[MadeStep(timedelta(0), "secret-model", 1, 5, 10**6)]
    )
    day = {"start_date": "2026-03-01", "end_date": "2026-03-01"}
    for path in ALL:
        for more in ({}, {"workflow_id": str(theirs.workflow)}):
            told = await ask(http, path, **day, **more)
            assert not any(value for name, value in told.items() if name != "period"), path
    for report in ("executions", "usage", "costs"):
        assert "secret-model" not in (await http.get(f"/api/v1/analytics/reports/{report}", params=day)).text


async def test_who_may_not_read_usage_may_not_read_any_of_it(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> None:
    async with as_caller(await key_of(tenant, "read", permissions=["execution:read"])) as http:
        for path in (*ALL, "reports/costs"):
            assert (await http.get(f"/api/v1/analytics/{path}")).status_code == 403
    async with as_caller(await key_of(tenant, "read", permissions=["usage:read"])) as http:
        for path in (*ALL, "reports/costs"):
            assert (await http.get(f"/api/v1/analytics/{path}")).status_code == 200


async def test_reports_are_files(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    await run_at(database, tenant, utc(2026, 3, 1), steps=[MadeStep(timedelta(0), "m", 1, 5, 10**6)])
    month = {"start_date": "2026-03-01", "end_date": "2026-03-31"}
    answer = await http.get("/api/v1/analytics/reports/executions", params=month)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    name = 'attachment; filename="omium-executions-2026-03-01-2026-03-31.csv"'
    assert answer.headers["content-disposition"] == name
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["date"], row["total"], row["successful"], row["total_tokens"]) == ("2026-03-01", "1", "1", "5")
    answer = await http.get("/api/v1/analytics/reports/usage", params={**month, "format": "json"})
    assert answer.headers["content-disposition"].endswith('.json"')
    assert json.loads(answer.content)["analytics"]["executions"] == 1
    empty = await http.get(
        "/api/v1/analytics/reports/usage", params={"start_date": "2020-01-01", "end_date": "2020-01-01"}
    )
    assert empty.text.splitlines() == [
        "date,executions,steps,model_calls,tool_calls,tokens,credits,api_calls,storage_bytes"
    ]
    assert (await http.get("/api/v1/analytics/reports/people")).status_code == 422
