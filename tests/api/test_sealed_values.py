"""What cannot be opened is told as that, with nothing else of the answer."""

from __future__ import annotations

from uuid import UUID

import httpx
from fastapi import FastAPI

from models.database import Database
from tests.encryption.support import as_owner
from tests.support.database import PostgresServer
from tests.support.tenants import add_execution


async def test_a_damaged_value_is_an_error_with_a_code(
    http: httpx.AsyncClient, database: Database, tenant: UUID, postgres: PostgresServer
) -> None:
    row = await add_execution(database, tenant)
    damage = (
        "UPDATE executions SET error_message = set_byte(metadata, length(metadata) - 1, 0) || '\\x00' WHERE id = $1"
    )
    await as_owner(postgres, damage, row.execution)
    for path in (f"/api/v1/executions/{row.execution}", "/api/v1/executions"):
        answer = await http.get(path)
        assert answer.status_code == 500
        assert answer.json().keys() == {"error"}
        error = answer.json()["error"]
        assert (error["code"], error["details"]) == ("KEY_UNAVAILABLE", {})
        assert str(row.workflow) not in answer.text


async def test_an_erased_tenant_has_nothing_any_more(
    http: httpx.AsyncClient, app: FastAPI, database: Database, tenant: UUID
) -> None:
    row = await add_execution(database, tenant)
    path = f"/api/v1/executions/{row.execution}"
    assert (await http.get(path)).status_code == 200
    await database.keys.destroy(tenant)
    # as two seconds later
    app.state.wiring.database.keys.forget(tenant)
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "TENANT_ERASED")
