"""Fixtures: the API in this process with a real Temporal, and a worker of the light queue beside it. No framework is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from api.app import create_app
from models.database import Database
from omium_core.settings import Settings
from tests.support.database import PostgresServer, database_at
from tests.support.temporal import running_temporal, serving
from tests.support.tenants import add_key, add_tenant

WORKFLOW: dict[str, Any] = {
    "name": "greets",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [{"id": "greet", "type": "template", "template": "Hello {{ name }}", "output": "greeting"}],
        "edges": [{"from": "START", "to": "greet"}, {"from": "greet", "to": "END"}],
        "state": {"name": {"type": "string"}, "greeting": {"type": "string"}},
    },
    "input_schema": {
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1}},
        "required": ["name"],
    },
}


@pytest.fixture(scope="package")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_temporal(tmp_path_factory.mktemp("temporal") / "data") as address:
        yield address


@pytest.fixture
def settings(postgres: PostgresServer, temporal_address: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=temporal_address,
        store_path=tmp_path,
        http_allow_private=("127.0.0.1",),
        webhook_retry_interval=0.05,
        webhook_timeout=5,
        webhook_max_attempts=4,
        worker_check_timeout=1,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = database_at(settings.database_url.get_secret_value())
    yield database
    await database.close()


@pytest.fixture
async def temporal(settings: Settings) -> AsyncIterator[Client]:
    """With a worker of the light queue beside it."""
    async with serving(settings) as client:
        yield client


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return await add_tenant(database)


@pytest.fixture
async def http(app: FastAPI, database: Database, settings: Settings, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    key = await add_key(database, tenant, settings.api_key_pepper.get_secret_value(), "read", "write")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api/api/v1", headers={"X-API-Key": key}
    ) as client:
        yield client


@pytest.fixture
async def workflow_id(http: httpx.AsyncClient) -> str:
    answer = await http.post("/workflows", json=WORKFLOW)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
