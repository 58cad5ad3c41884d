"""Prepares the database for the API and the workers: `python -m workers.local.schema`.

A process of its own, so that its imports run beside the start of PostgreSQL and do not stay in the supervisor.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from models.keys import hash_key
from models.revision import newest_revision
from omium_core.errors import ConfigurationError
from omium_core.settings import Settings, load_settings

_PATIENCE = 60.0
_NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)


async def connect(url: str) -> asyncpg.Connection:
    """Waits until the server answers, and makes the database that `url` (`postgresql://...`) names."""
    server, _, name = url.rpartition("/")
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(_NOT_YET), wait=wait_fixed(0.02), stop=stop_after_delay(_PATIENCE), reraise=True
    ):
        with attempt:
            try:
                return await asyncpg.connect(url, timeout=5, ssl=False)
            except asyncpg.InvalidCatalogNameError:
                connection = await asyncpg.connect(f"{server}/postgres", timeout=5, ssl=False)
                await connection.execute(f'CREATE DATABASE "{name}"')
                await connection.close()
                return await asyncpg.connect(url, timeout=5, ssl=False)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def is_prepared(connection: asyncpg.Connection, key_hash: str, login: str | None) -> bool:
    """Whether the newest schema, the key and the login are there. Asked first, because what could make them is slow to
    load."""
    try:
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        known = await connection.fetchval("SELECT 1 FROM api_keys WHERE key_hash = $1 AND is_active", key_hash)
    except asyncpg.UndefinedTableError:
        return False
    admitted = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", login)
    return revision == newest_revision() and known is not None and admitted is not None


async def prepare(settings: Settings, api_key: str) -> None:
    """Database, schema, first tenant and key; each only where it is missing."""
    url, service_url = settings.owner_url(), settings.database_url.get_secret_value()
    pepper = settings.api_key_pepper.get_secret_value()
    connection = await connect(url.replace("+asyncpg", "", 1).partition("?")[0])
    try:
        done = await is_prepared(connection, hash_key(pepper, api_key), urlsplit(service_url).username)
    finally:
        await connection.close()
    if done:
        return
    from models.bootstrap import bootstrap
    from models.migrate import upgrade

    await upgrade(url, service_url)
    await bootstrap(url, pepper, api_key, settings.signup_credits)


def main() -> None:
    try:
        settings = load_settings()
        if settings.bootstrap_api_key is None:
            raise ConfigurationError("OMIUM_BOOTSTRAP_API_KEY is not set: it is the key to begin with.")
    except ConfigurationError as error:
        sys.exit(error.message)
    asyncio.run(prepare(settings, settings.bootstrap_api_key.get_secret_value()))


if __name__ == "__main__":
    main()
