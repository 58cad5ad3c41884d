"""Who may do what, asked of every operation that the API publishes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from api.auth.permissions import SCOPES
from models.database import Database
from models.tables import Tenant
from models.tables.base import now
from tests.api.conftest import Caller, KeyMaker
from tests.support.tenants import Owned, add_execution, add_tenant

PROTECTED = "/api/v1/"
CHANGES = ("post", "put", "patch", "delete")
#: These change nothing, although a body is posted to them.
READ_BY_POST = "/api/v1/temporal/codec/"
#: What an operation needs beside its ids to be understood.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/v1/workflows"): {"name": "w", "framework": "langgraph", "workflow_definition": {}},
    ("post", "/api/v1/approvals/{approval_id}/edit"): {"value": 1},
    ("post", "/api/v1/approvals/{approval_id}/answer"): {"decision": "approve"},
    ("post", "/api/v1/policies"): {"name": "p", "policy_type": "retry", "policy_config": {"max_retries": 1}},
    ("post", "/api/v1/failures/{failure_id}/recover"): {"action_type": "retry"},
    ("post", "/api/v1/consensus/{log_id}/acknowledge"): {"agent_id": "auditor"},
}


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of everything behind a key; what people do about themselves, and what Stripe signs, has tests of its own."""
    paths = app.openapi()["paths"]
    open_to_all = (f"{PROTECTED}auth/", f"{PROTECTED}webhooks/stripe")
    guarded = [path for path in paths if path.startswith(PROTECTED) and not path.startswith(open_to_all)]
    found = [(method, path) for path in guarded for method in paths[path]]
    assert len(found) >= 16
    return found


async def ask(client: httpx.AsyncClient, method: str, path: str, row: Owned) -> httpx.Response:
    """Calls an operation with the ids of a tenant's rows, wherever it takes one."""
    ids = {"workflow_id": row.workflow, "execution_id": row.execution, "checkpoint_id": row.checkpoint}
    ids = {**ids, "failure_id": row.failure, "approval_id": row.approval, "log_id": row.log}
    ids = {**ids, "policy_id": row.policy, "action_id": row.action, "notification_id": row.notification}
    url = re.sub(r"{(\w+)}", lambda found: str(ids.get(found[1], "langgraph")), path)
    body = BODIES.get((method, path), {"workflow_id": str(row.workflow)} if path.endswith("/executions") else {})
    if path.endswith("/checkpoints"):
        body = {"execution_id": str(row.execution), "checkpoint_name": "mine"}
    elif path.endswith("/fork"):
        body = {"checkpoint_id": str(row.checkpoint)}
    params = {"execution_id": str(row.execution)} if path.endswith("/checkpoints") else {}
    return await client.request(method, url, json=body if method in CHANGES else None, params=params)


@pytest.fixture
async def theirs(database: Database) -> Owned:
    """What another tenant has."""
    return await add_execution(database, await add_tenant(database))


async def test_without_a_key_nothing_is_answered(app: FastAPI, as_caller: Caller, theirs: Owned) -> None:
    async with as_caller(None) as client:
        for method, path in operations(app):
            assert (await ask(client, method, path, theirs)).status_code == 401, (method, path)


async def test_every_operation_needs_a_permission(
    app: FastAPI, as_caller: Caller, key_of: KeyMaker, theirs: Owned
) -> None:
    async with as_caller(await key_of(theirs.tenant_id)) as client:
        for method, path in operations(app):
            answer = await ask(client, method, path, theirs)
            assert answer.status_code == 403, (method, path)
            assert answer.json()["error"]["code"] == "AUTH_INSUFFICIENT_PERMISSIONS"


async def test_key_for_reading_changes_nothing(
    app: FastAPI, as_caller: Caller, key_of: KeyMaker, theirs: Owned
) -> None:
    async with as_caller(await key_of(theirs.tenant_id, "read")) as client:
        for method, path in operations(app):
            answer = await ask(client, method, path, theirs)
            if method in CHANGES and not path.startswith(READ_BY_POST):
                assert answer.status_code == 403, (method, path)
            elif answer.status_code == 403:
                assert answer.json()["error"]["details"]["permission"] not in SCOPES["read"], (method, path)


@pytest.mark.parametrize(
    "options",
    [{"expires_at": now() - timedelta(seconds=1)}, {"revoked_at": now()}, {"is_active": False}],
    ids=["expired", "revoked", "inactive"],
)
async def test_key_that_is_over(as_caller: Caller, key_of: KeyMaker, tenant: UUID, options: dict[str, Any]) -> None:
    async with as_caller(await key_of(tenant, "read", **options)) as client:
        answer = await client.get("/api/v1/workflows")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_key_of_a_tenant_that_left(as_caller: Caller, key_of: KeyMaker, tenant: UUID, database: Database) -> None:
    key = await key_of(tenant, "read", expires_at=now() + timedelta(hours=1))
    async with database.system() as session:
        row = await session.get(Tenant, tenant)
        assert row is not None
        row.deleted_at = now()
        session.add(row)
    async with as_caller(key) as client:
        assert (await client.get("/api/v1/workflows")).status_code == 401
