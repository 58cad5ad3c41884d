"""The API in this process, and two tenants that have everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from models.database import Database
from models.repositories.limits import UNLIMITED_REQUESTS
from models.tables import Tenant
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker, app, as_caller, database, key_of, settings
from tests.isolation.rows import Furnished, furnish

__all__ = ["app", "as_caller", "database", "key_of", "settings"]


@dataclass
class Neighbours:
    """`theirs` is what the other tenant has, `ours` what belongs to the caller behind `http`."""

    theirs: Furnished
    ours: Furnished
    http: httpx.AsyncClient
    as_them: httpx.AsyncClient


@pytest.fixture
async def neighbours(
    app: FastAPI, settings: Settings, database: Database, as_caller: Caller, key_of: KeyMaker
) -> AsyncIterator[Neighbours]:
    url = settings.database_url.get_secret_value()
    furnished, keys = [], []
    for word in ("canarytheirs", "canaryours"):
        tenant = Tenant(name=f"{word} tenant", slug=f"{word}-{new_id()}", limits=UNLIMITED_REQUESTS)
        async with database.system() as session:
            session.add(tenant)
            await session.flush()
        furnished.append(await furnish(url, database, tenant.id, word))
        keys.append(await key_of(tenant.id, "read", "write", "admin"))
    async with as_caller(keys[0]) as as_them, as_caller(keys[1]) as http:
        yield Neighbours(furnished[0], furnished[1], http, as_them)
