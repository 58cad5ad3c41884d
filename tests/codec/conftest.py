"""A Temporal server with its Web UI, the API in this process in front of it, and a run in Temporal of each of two tenants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from activities.payload_codec import sealing_converter
from api.app import create_app
from models.database import Database
from omium_core import temporal
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.support.database import PostgresServer, database_at
from tests.support.loopback import free_port, running, wait_until
from tests.support.tenants import add_execution, add_key, add_tenant
from workers.local import temporal_server
from workers.local.datadir import DataDir

#: Part of what the run holds; its name may be read by everybody who sees the list.
CANARY = "canary-of-the-run"


@dataclass
class Ports:
    """As `omium up` chooses them."""

    chosen: dict[str, int] = field(
        default_factory=lambda: {
            name: free_port() for name in ("temporal", "temporal_ui", "temporal_http", "temporal_metrics")
        }
    )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.chosen['temporal']}"

    @property
    def ui(self) -> str:
        return f"http://127.0.0.1:{self.chosen['temporal_ui']}"


@pytest.fixture(scope="package")
def temporal_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """The server of `omium up`, by its own command line."""
    folder = tmp_path_factory.mktemp("temporal")
    ports = Ports()
    part = temporal_server.part(DataDir(folder), ports.chosen)

    def ready() -> bool:
        if temporal_server.missing_search_attributes(ports.chosen["temporal_http"]):
            return False
        try:
            return httpx.get(f"{ports.ui}/temporal/", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    command = ["env", f"--chdir={folder}", *part.command]
    with running(command, log=folder / "log", ready=ready, environment=part.env):
        yield ports


shared = pytest_asyncio.fixture(scope="module", loop_scope="module")


@pytest.fixture(scope="module")
def settings(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory, temporal_ui: Ports) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=temporal_ui.address,
        temporal_ui_upstream=temporal_ui.ui,
        temporal_ui_url="http://api/temporal",
        store_path=tmp_path_factory.mktemp("store"),
        password_memory_kib=8,
        password_passes=1,
    )


@shared
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@shared
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = database_at(settings.database_url.get_secret_value(), pool_size=2)
    yield database
    await database.close()


@pytest.fixture(scope="module")
def key_of(database: Database, settings: Settings) -> KeyMaker:
    async def make(tenant_id: UUID, *scopes: str, **options: Any) -> str:
        return await add_key(database, tenant_id, settings.api_key_pepper.get_secret_value(), *scopes, **options)

    return make


@pytest.fixture(scope="module")
def as_caller(app: FastAPI) -> Caller:
    def client(key: str | None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)

    return client


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The API on a port, for programs and browsers; its address."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", log_config=None, proxy_headers=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await asyncio.to_thread(wait_until, lambda: server.started, seconds=10, what="the API")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@dataclass(frozen=True)
class Run:
    """A run of a tenant, as Temporal knows it."""

    tenant: UUID
    execution: UUID

    @property
    def id(self) -> str:
        return temporal.workflow_id(self.tenant, self.execution)


async def start_run(database: Database, address: str) -> Run:
    """A new tenant's run, which no worker takes: what it was given is in Temporal all the same."""
    tenant = await add_tenant(database)
    owned = await add_execution(database, tenant, status="running")
    run = Run(tenant, owned.execution)
    client = await Client.connect(address, data_converter=sealing_converter(database.keys))
    await client.start_workflow(
        temporal.RUN_WORKFLOW,
        {"prompt": CANARY},
        id=run.id,
        task_queue=temporal.queue_for("langgraph"),
        search_attributes=TypedSearchAttributes([SearchAttributePair(temporal.TENANT, str(tenant))]),
        static_summary=f"summary {CANARY}",
        static_details=f"# details {CANARY}",
        memo={"note": f"memo {CANARY}"},
    )
    return run


@shared
async def run(database: Database, temporal_ui: Ports) -> Run:
    return await start_run(database, temporal_ui.address)


@shared
async def foreign(database: Database, temporal_ui: Ports) -> Run:
    return await start_run(database, temporal_ui.address)
