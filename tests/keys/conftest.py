"""The API in this process, as in tests/api, with a client that may manage keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from tests.api.conftest import Caller, KeyMaker, app, as_caller, database, http, key_of, settings, tenant

__all__ = ["app", "as_caller", "database", "http", "key_of", "settings", "tenant"]


@pytest.fixture
async def admin(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with as_caller(await key_of(tenant, "admin")) as client:
        yield client
