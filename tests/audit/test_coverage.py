"""Every operation that may change something leaves exactly one entry, whatever comes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from api.audit_trail import CHANGES, permission_of
from api.auth.permissions import ALL
from models.database import Database
from models.repositories.audit import AuditFilter, AuditRepository
from models.repositories.base import Page
from models.tables import AuditLog
from models.tables.base import new_id
from tests.api.conftest import Caller, KeyMaker
from tests.support.tenants import add_execution

PREFIX = "/api/v1"
#: What every caller may do with their own account.
SELF = "account:self"


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    permission: str


def operations(app: FastAPI) -> list[Operation]:
    """All that may change something for a known caller."""
    found = [
        Operation(method, route.path or "", permission)
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute) and (route.path or "").startswith(PREFIX)
        for method in sorted(set(route.methods or ()) & CHANGES)
        if (permission := permission_of(route.original_route)) is not None
    ]
    assert len(found) >= 40
    return found


async def entries(database: Database, tenant: UUID, request_id: str) -> list[AuditLog]:
    async with database.transaction(tenant) as session:
        found = await AuditRepository(session, tenant).list(Page(limit=10), AuditFilter(request_id=request_id))
    return list(found.rows)


async def test_every_operation_leaves_one_entry(
    app: FastAPI, as_caller: Caller, key_of: KeyMaker, database: Database, tenant: UUID
) -> None:
    row = await add_execution(database, tenant)
    known: dict[str, Any] = {
        f"{name}_id": getattr(row, name) for name in ("workflow", "execution", "checkpoint", "policy")
    }
    known |= {"approval_id": row.approval, "failure_id": row.failure, "log_id": row.log}
    async with as_caller(await key_of(tenant, "read", "write", "admin")) as http:
        for number, asked in enumerate(operations(app)):
            path = re.sub(r"{(\w+)}", lambda match: str(known.get(match[1]) or new_id()), asked.path)
            request_id = f"walk-{number}"
            answer = await http.request(asked.method, path, json={}, headers={"X-Request-ID": request_id})
            found = await entries(database, tenant, request_id)
            assert len(found) == 1, (asked, answer.status_code, [entry.action for entry in found])
            assert (found[0].status == "success") is (answer.status_code < 400), asked
            assert found[0].meta["source"] == "api"
            if found[0].status != "success":
                kind = asked.permission.partition(":")[0]
                assert found[0].action.partition(".")[0] in (kind, "workflow", "execution"), asked


async def test_every_operation_leaves_one_entry_when_it_is_refused(
    app: FastAPI, as_caller: Caller, key_of: KeyMaker, database: Database, tenant: UUID
) -> None:
    async with as_caller(await key_of(tenant)) as http:
        for number, asked in enumerate(operations(app)):
            if asked.permission == SELF:
                continue
            path = re.sub(r"{(\w+)}", str(new_id()), asked.path)
            request_id = f"refused-{number}"
            answer = await http.request(asked.method, path, json={}, headers={"X-Request-ID": request_id})
            assert answer.status_code == 403, asked
            [entry] = await entries(database, tenant, request_id)
            assert (entry.status, entry.meta["http_status"]) == ("denied", 403)


async def test_actions_are_made_of_permissions(app: FastAPI) -> None:
    assert {operation.permission for operation in operations(app)} <= ALL | {SELF}
