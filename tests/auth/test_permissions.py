"""What every route declares, and what people see who may not see payloads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import select
from sqlmodel import col

from api.audit_trail import permission_of
from api.auth.authenticator import OPEN_PATHS, is_open
from api.auth.permissions import ALL, BILLING, SYSTEM_ROLES
from api.middleware import OPEN
from models.database import Database
from models.sealing import SealedJson, SealedText
from models.tables import Table
from tests.auth.conftest import SignUp
from tests.auth.mailbox import Mailbox
from tests.auth.test_members import join
from tests.support.tenants import Owned, add_execution

#: Routes outside of /api/v1 that nobody needs a credential for.
PUBLIC = {"/.well-known/jwks.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
#: Routes for browsers, which look at their cookie themselves.
OWN_DOOR = ("/sign-in", "/sign-out", "/temporal", "/health", "/metrics", "/static-offline-docs")
CANARY = "canary-7f3a91"
#: Definitions, policies, addresses and settings are read by whoever may read what they belong to.
DEFINITIONS = {
    *("workflows", "workflow_versions", "execution_policies", "execution_policy_versions"),
    *("webhook_endpoints", "external_workflow_connections"),
}


@dataclass(frozen=True)
class Declared:
    path: str
    methods: frozenset[str]
    permission: str | None
    declarations: int


LISTS = {"preconditions", "postconditions"}


def declarations(route: Any) -> int:
    return sum(hasattr(each.call, "permission") for each in route.original_route.dependant.dependencies)


def api_routes(app: FastAPI) -> list[Declared]:
    found = [
        Declared(
            route.path or "", frozenset(route.methods or ()), permission_of(route.original_route), declarations(route)
        )
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute)
    ]
    assert len(found) > 60
    return found


def test_every_route_declares_a_permission(app: FastAPI) -> None:
    undeclared = []
    for route in api_routes(app):
        permission = route.permission
        if permission is not None:
            assert permission in ALL or permission == "account:self", (route.path, permission)
            assert route.declarations == 1, route.path
        elif not (is_open(route.path) or route.path.startswith(OPEN) or route.path in PUBLIC):
            undeclared.append(route.path)
    assert not [path for path in undeclared if not path.startswith(OWN_DOOR)]
    assert not [path for path in undeclared if path.startswith("/api/v1/") and not path.startswith(OPEN)]


def test_open_paths_are_routes(app: FastAPI) -> None:
    assert {route.path for route in api_routes(app)} >= OPEN_PATHS


def test_every_permission_is_held_by_the_owner_and_asked_for_somewhere(app: FastAPI) -> None:
    asked = {route.permission for route in api_routes(app)}
    assert SYSTEM_ROLES["owner"][1] == ALL
    assert "payload:read" in ALL
    for name, (_, held) in SYSTEM_ROLES.items():
        assert held <= ALL, name
    # bills are asked for by what sends them; giving a tenant away is giving somebody the role that holds this
    assert ALL - asked <= BILLING | {"tenant:transfer"}


@pytest.fixture
async def rows(database: Database, sign_up: SignUp) -> tuple[Any, Owned]:
    """An owner whose tenant has one row of everything, with a canary in each sealed column."""
    owner = await sign_up()
    owned = await add_execution(database, owner.tenant_id, approval="pending")
    async with database.transaction(owner.tenant_id) as session:
        for kind in Table.__subclasses__():
            sealed = [
                column
                for column in kind.__table__.columns  # type: ignore[attr-defined]
                if isinstance(column.type, SealedJson | SealedText)
            ]
            if not sealed or kind.__tablename__ in DEFINITIONS or kind.__tablename__.startswith("audit"):
                continue
            names = {kind.__mapper__.get_property_by_column(column).key: column for column in sealed}  # type: ignore[attr-defined]
            query = select(kind).where(col(kind.tenant_id) == owner.tenant_id)  # type: ignore[attr-defined]
            for row in (await session.execute(query)).scalars().all():
                for name, column in names.items():
                    setattr(row, name, _canary(name, getattr(row, name), column.type))
                session.add(row)
    return owner, owned


def _canary(name: str, before: Any, kind: Any) -> Any:
    if isinstance(kind, SealedText):
        return CANARY
    return [CANARY] if name in LISTS or isinstance(before, list) else {**(before or {}), "canary": CANARY}


async def ask(client: httpx.AsyncClient, path: str, owned: Owned) -> httpx.Response:
    url = re.sub(r"{(\w+)}", lambda found: str(getattr(owned, found[1].removesuffix("_id"), uuid4())), path)
    params = {"execution_id": str(owned.execution)} if path.endswith("/checkpoints") else {}
    return await client.get(f"http://api{url}", params=params)


async def test_who_may_not_see_payloads_sees_none(app: FastAPI, rows: tuple[Any, Owned], mailbox: Mailbox) -> None:
    owner, owned = rows
    operator = await join(owner, app, mailbox, "operator")
    shown, told, leaks = set(), set(), []
    paths = [
        route.path
        for route in api_routes(app)
        if "GET" in route.methods and route.permission is not None and route.path.startswith("/api/v1/")
    ]
    assert len(paths) > 30
    for path in paths:
        whole = await ask(owner.http, path, owned)
        if CANARY in whole.text:
            shown.add(path)
        answer = await ask(operator.http, path, owned)
        leaks += [path] if CANARY in answer.text else []
        # what stands behind a made-up row may be missing, for whoever asks
        assert answer.status_code < 500 or whole.status_code >= 500, (path, answer.text)
        if '"payloads_hidden":true' in answer.text:
            told.add(path)
        if path.endswith("/data"):
            assert answer.status_code == 403
    await operator.http.aclose()
    assert not leaks
    # the test would find something, and where something is hidden the answer says so
    assert len(shown) >= 12, shown
    assert shown <= told | {path for path in shown if path.endswith("/data")}, shown - told
