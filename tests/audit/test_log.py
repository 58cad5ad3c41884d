"""What requests leave in the log, and how it is read."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.audit_trail import AuditWriter
from api.services.auditing import audited_by_system
from models.database import Database
from models.repositories.audit import AuditEntry
from models.tables.base import new_id, now
from tests.api.conftest import Caller, KeyMaker
from tests.support.database import database_at
from tests.support.loopback import free_port
from tests.support.tenants import add_execution, add_tenant

POLICY = {"name": "careful", "policy_type": "retry", "policy_config": {"max_retries": 2}}
KEYS = {"timestamp", "user_id", "tenant_id", "action", "resource_id", "ip_address", "user_agent", "status"}


@pytest.fixture
async def reader(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> httpx.AsyncClient:
    return as_caller(await key_of(tenant, "read", "write", "admin"))


async def entries(reader: httpx.AsyncClient, **filters: Any) -> list[dict[str, object]]:
    answer = await reader.get("/api/v1/audit-logs", params={"limit": 100, **filters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["audit_logs"]
    return found


async def test_a_change_leaves_one_entry(http: httpx.AsyncClient, reader: httpx.AsyncClient, tenant: UUID) -> None:
    headers = {"X-Request-ID": "change-1", "User-Agent": "omium-sdk/0.1.4"}
    made = (await http.post("/api/v1/policies", json=POLICY, headers=headers)).json()
    [entry] = await entries(reader)
    assert entry.keys() > KEYS
    assert entry["timestamp"] == entry["created_at"]
    wanted = {
        "tenant_id": str(tenant),
        "action": "policy.create",
        "resource_type": "policy",
        "resource_id": made["id"],
        "request_id": "change-1",
        "user_agent": "omium-sdk/0.1.4",
        "ip_address": "127.0.0.1",
        "status": "success",
    }
    assert {name: entry[name] for name in wanted} == wanted
    assert entry["api_key_id"]
    assert (await reader.get(f"/api/v1/audit-logs/{entry['id']}")).json() == entry


async def test_old_and_new_values_of_what_changed(http: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    made = (await http.post("/api/v1/policies", json=POLICY)).json()
    await http.patch(f"/api/v1/policies/{made['id']}", json={"is_active": False})
    await http.delete(f"/api/v1/policies/{made['id']}")
    deleted, updated, created = await entries(reader, resource_id=made["id"])
    assert [row["action"] for row in (created, updated, deleted)] == [
        "policy.create",
        "policy.update",
        "policy.delete",
    ]
    assert created["old_values"] is None
    assert created["new_values"]["name"] == "careful"  # type: ignore[index]
    assert updated["old_values"]["is_active"] is True  # type: ignore[index]
    assert updated["new_values"]["is_active"] is False  # type: ignore[index]
    assert deleted["old_values"]["name"] == "careful"  # type: ignore[index]


async def test_what_was_refused_is_in_the_log_too(
    as_caller: Caller, key_of: KeyMaker, http: httpx.AsyncClient, reader: httpx.AsyncClient, tenant: UUID
) -> None:
    async with as_caller(await key_of(tenant, "read")) as weak:
        assert (await weak.post("/api/v1/policies", json=POLICY)).status_code == 403
    missing = new_id()
    assert (await http.delete(f"/api/v1/policies/{missing}")).status_code == 404
    assert (await http.post("/api/v1/policies", json={"name": 1})).status_code == 422
    [wrong, gone, refused] = await entries(reader)
    assert (refused["action"], refused["status"]) == ("policy.create", "denied")
    assert refused["metadata"]["code"] == "AUTH_INSUFFICIENT_PERMISSIONS"  # type: ignore[index]
    assert (gone["action"], gone["status"], gone["resource_id"]) == ("policy.delete", "failure", str(missing))
    assert (wrong["status"], wrong["metadata"]["http_status"]) == ("failure", 422)  # type: ignore[index]


async def test_reads_leave_no_entry(http: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    await http.get("/api/v1/policies")
    assert await entries(reader) == []


async def test_filters_and_both_ways_of_paging(http: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    made = [(await http.post("/api/v1/policies", json=POLICY)).json()["id"] for _ in range(3)]
    await http.delete(f"/api/v1/policies/{made[0]}", headers={"X-Request-ID": "gone"})
    assert len(await entries(reader, action="policy.create")) == 3
    assert [row["resource_id"] for row in await entries(reader, request_id="gone")] == [made[0]]
    assert len(await entries(reader, resource_id=made[0])) == 2
    assert await entries(reader, status="denied") == []
    assert await entries(reader, user_id=str(new_id())) == []
    oldest = (await entries(reader))[-1]
    assert await entries(reader, to=oldest["timestamp"]) == []
    assert len(await entries(reader, **{"from": oldest["timestamp"]})) == 4
    first = (await reader.get("/api/v1/audit-logs", params={"limit": 3})).json()
    rest = (await reader.get("/api/v1/audit-logs", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert (len(first["audit_logs"]), len(rest["audit_logs"]), first["total"]) == (3, 1, 4)
    paged = (await reader.get("/api/v1/audit-logs", params={"page": 2, "per_page": 3})).json()
    assert paged["audit_logs"] == rest["audit_logs"]


async def test_export(http: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    agent = {"User-Agent": '=cmd("x")'}
    made = (await http.post("/api/v1/policies", json=POLICY, headers=agent)).json()
    await http.delete(f"/api/v1/policies/{made['id']}")
    lines = (await reader.get("/api/v1/audit-logs/export")).text.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["policy.create", "policy.delete"]
    answer = await reader.get("/api/v1/audit-logs/export", params={"format": "csv", "action": "policy.create"})
    assert answer.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert row["action"] == "policy.create"
    assert row["user_agent"].startswith("'="), "no formula for a spreadsheet"


async def test_other_tenants_see_nothing(
    http: httpx.AsyncClient, as_caller: Caller, key_of: KeyMaker, database: Database, reader: httpx.AsyncClient
) -> None:
    await http.post("/api/v1/policies", json=POLICY)
    [entry] = await entries(reader)
    async with as_caller(await key_of(await add_tenant(database), "read", "admin")) as other:
        assert await entries(other) == []
        assert (await other.get(f"/api/v1/audit-logs/{entry['id']}")).status_code == 404
        assert (await other.get("/api/v1/audit-logs/export")).text == ""


async def test_without_the_permission(http: httpx.AsyncClient) -> None:
    for path in ("", "/export", "/verify"):
        assert (await http.get(f"/api/v1/audit-logs{path}")).status_code == 403


async def test_what_happens_before_somebody_is_known(
    database: Database, reader: httpx.AsyncClient, tenant: UUID
) -> None:
    person = new_id()
    await audited_by_system(database, tenant, "user.login", "user", person, user_id=person, status="denied")
    async with database.system() as session:
        await audited_by_system(database, tenant, "user.login", "user", person, new={"way": "totp"}, session=session)
    worked, refused = await entries(reader, resource_id=str(person))
    assert (refused["status"], refused["user_id"]) == ("denied", str(person))
    assert worked["new_values"] == {"way": "totp"}


async def test_steering_a_run_without_temporal(
    http: httpx.AsyncClient, reader: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    row = await add_execution(database, tenant)
    assert (await http.post(f"/api/v1/executions/{row.execution}/pause")).status_code >= 400
    [entry] = await entries(reader, resource_id=str(row.execution))
    assert (entry["action"], entry["status"]) == ("execution.pause", "failure")


async def test_what_is_done_about_a_failure(
    http: httpx.AsyncClient, reader: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    row = await add_execution(database, tenant)
    answer = await http.post(f"/api/v1/failures/{row.failure}/resolve", json={"note": "by hand"})
    assert answer.status_code == 200, answer.text
    [entry] = await entries(reader, resource_id=str(row.failure))
    assert entry["old_values"] == {"recovery_status": "pending"}
    assert entry["new_values"] == {"recovery_status": "resolved", "note": "by hand"}


async def test_an_entry_waits_for_the_database(database: Database, tenant: UUID, reader: httpx.AsyncClient) -> None:
    away = database_at(f"postgresql+asyncpg://omium@127.0.0.1:{free_port()}/omium")
    writer = AuditWriter(away)
    await writer.write(AuditEntry(tenant, "policy.delete", "policy", new_id(), request_id="late"))
    happened = now() - timedelta(minutes=20)
    writer._queue.append(
        AuditEntry(tenant, "policy.delete", "policy", new_id(), request_id="later", created_at=happened)
    )
    writer._database = database
    await writer.close()
    [late] = await entries(reader, request_id="late")
    assert late["metadata"] == {}
    [later] = await entries(reader, request_id="later", **{"from": (now() - timedelta(minutes=1)).isoformat()})
    assert later["metadata"] == {"happened_at": happened.isoformat()}
