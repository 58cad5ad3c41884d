"""What a process makes sure of before it serves."""

from __future__ import annotations

import asyncio

import structlog
from asyncpg import PostgresError

from models.database import Database, is_database_away, open_database
from omium_core.errors import Unavailable
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds that the database has for its answer.
_PATIENCE = 10.0


async def check_master_key(database: Database) -> None:
    """Raises `ConfigurationError` if the master key does not open the keys of tenants.

    A process comes up while the database or KMS is away, or not prepared yet; then it is not known.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            await database.keys.check()
    except Exception as error:
        if not (is_database_away(error) or isinstance(error, Unavailable) or _is_unprepared(error)):
            raise
        log.warning("the master key could not be checked", reason=type(error).__name__)


async def check_settings(settings: Settings) -> None:
    """The same for a process that has no connection yet."""
    database = open_database(settings)
    try:
        await check_master_key(database)
    finally:
        await database.close()


def _is_unprepared(error: BaseException) -> bool:
    """Whether the database has no tables, or no roles, yet."""
    cause = getattr(getattr(error, "orig", None), "__cause__", None) or error
    return isinstance(cause, PostgresError) and cause.sqlstate in ("42P01", "42704", "22023", "3D000")
