"""Credits that a tenant begins with: once, in the transaction that makes it, whoever makes it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from models.bootstrap import BOOTSTRAP_SLUG, bootstrap
from models.database import Database
from models.keys import new_key
from models.migrate import upgrade
from models.repositories.identity import Accounts
from models.repositories.ledger import available
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.data.conftest import empty_url as empty_url
from tests.support.database import PostgresServer, database_at
from tests.support.loopback import free_port


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path,
        password_memory_kib=8,
        password_passes=1,
        signup_credits=Decimal("250.5"),
    )


async def test_who_signs_up_has_them(settings: Settings) -> None:
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as http,
    ):
        person = {"email": f"{new_id().hex}@example.com", "password": "correct horse battery", "tenant_name": "Acme"}
        made = await http.post("/auth/register", json=person)
        assert made.status_code == 201, made.text
        http.headers["authorization"] = f"Bearer {made.json()['access_token']}"
        balance = (await http.get("/billing/balance")).json()
        assert (balance["balance"], balance["last_topup_at"]) == (250.5, None)
        assert [(lot["source"], lot["remaining"]) for lot in balance["grants"]] == [("gift", 250.5)]
        (entry,) = (await http.get("/billing/transactions")).json()["transactions"]
        assert (entry["type"], entry["amount"]) == ("gift", 250.5)


async def test_transaction_that_makes_a_tenant_stays_the_platforms(database: Database) -> None:
    async with database.system() as db:
        tenant = await Accounts(db).add_tenant("Acme", [f"acme-{new_id().hex}"], 10)
        query = text("SELECT current_user, current_setting('omium.tenant_id')")
        assert tuple((await db.execute(query)).one()) == ("omium_system", "")
    async with database.transaction(tenant.id) as db:
        assert await available(db, tenant.id) == 10_000_000


async def test_first_tenant_has_them_once(empty_url: str) -> None:
    """Also where two processes prepare the same database, and where its key is set again."""
    await upgrade(empty_url)
    await asyncio.gather(*(bootstrap(empty_url, "pepper", new_key("test"), 70) for _ in range(2)))
    await bootstrap(empty_url, "pepper", new_key("test"), 70)
    database = database_at(empty_url, pool_size=1)
    try:
        async with database.system() as db:
            query = text("SELECT id, credits_balance FROM tenants WHERE slug = :slug")
            tenant = (await db.execute(query, {"slug": BOOTSTRAP_SLUG})).one()
        assert tenant.credits_balance == 70
        async with database.transaction(tenant.id) as db:
            assert await available(db, tenant.id) == 70_000_000
            assert (await db.execute(text("SELECT count(*) FROM ledger_entries"))).scalar_one() == 1
    finally:
        await database.close()
