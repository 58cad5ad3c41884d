"""The API in this process with Stripe's double behind it, and what a worker does done by hand. Temporal is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col

from activities.payments.applying import Applier
from activities.payments.reading import HANDLED
from api.app import create_app
from models.database import Database
from models.repositories.ledger import LedgerRepository
from models.tables import StripeWebhookEvent, Tenant
from omium_core.credits import MICRO
from omium_core.settings import Settings
from tests.support.database import PostgresServer, database_at
from tests.support.loopback import free_port
from tests.support.stripe_double import StripeDouble, StripeServer
from tests.support.stripe_double.server import KEY, SECRET, signed
from tests.support.tenants import add_key, add_tenant

#: Posts an event as Stripe does, and works it off.
Deliver = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def server() -> Iterator[StripeServer]:
    with StripeServer() as server:
        yield server


@pytest.fixture
def double(server: StripeServer) -> StripeDouble:
    """A new account at Stripe."""
    server.double.begin()
    return server.double


@pytest.fixture(scope="module")
def settings(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory, server: StripeServer) -> Settings:
    return Settings(
        database_url=SecretStr(postgres.url),
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path_factory.mktemp("objects"),
        rate_limits_enabled=False,
        stripe_secret_key=SecretStr(KEY),
        stripe_webhook_secret=SecretStr(SECRET),
        stripe_publishable_key="pk_test_double",
        stripe_price_id_developer="price_developer",
        stripe_price_id_pro="price_pro",
        stripe_api_url=server.url,
    )


@pytest.fixture(scope="module")
def built(settings: Settings) -> FastAPI:
    """Routes are worked out once; what belongs to a loop is opened for each test."""
    return create_app(settings)


@pytest.fixture
async def app(built: FastAPI) -> AsyncIterator[FastAPI]:
    async with built.router.lifespan_context(built):
        yield built


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = database_at(settings.database_url.get_secret_value(), pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return await add_tenant(database)


@pytest.fixture
async def http(app: FastAPI, database: Database, settings: Settings, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of the tenant that may do everything."""
    key = await add_key(database, tenant, settings.api_key_pepper.get_secret_value(), "read", "write", "admin")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api/api/v1", headers={"X-API-Key": key}
    ) as client:
        yield client


@pytest.fixture
async def stripe_side(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key, as Stripe is one."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as client:
        yield client


@pytest.fixture
def applier(database: Database, settings: Settings) -> Applier:
    return Applier(database, settings)


@pytest.fixture
def deliver(stripe_side: httpx.AsyncClient, applier: Applier) -> Deliver:
    async def send(*events: Mapping[str, Any]) -> None:
        # an endpoint is told of what it asked for
        for event in (each for each in events if each["type"] in HANDLED):
            answer = await post(stripe_side, event)
            assert answer.status_code == 200, answer.text
            await applier.work_off(event["id"])

    return send


async def post(client: httpx.AsyncClient, event: Mapping[str, Any], **how: Any) -> httpx.Response:
    body, header = signed(event, **how)
    headers = {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}
    return await client.post("/webhooks/stripe", content=body, headers=headers)


async def credits(database: Database, tenant_id: UUID) -> float:
    """What the tenant can spend."""
    async with database.transaction(tenant_id) as session:
        return (await LedgerRepository(session, tenant_id).account()).available / MICRO


async def tenant_row(database: Database, tenant_id: UUID) -> Tenant:
    async with database.system() as session:
        row: Tenant = (await session.execute(select(Tenant).where(col(Tenant.id) == tenant_id))).scalar_one()
        return row


async def stored(database: Database, event_id: str) -> StripeWebhookEvent | None:
    async with database.system() as session:
        query = select(StripeWebhookEvent).where(col(StripeWebhookEvent.stripe_event_id) == event_id)
        return (await session.execute(query)).scalar_one_or_none()
