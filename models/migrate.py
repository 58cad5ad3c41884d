"""Brings a database to the newest schema. Quick when it is there already; safe when several processes try at once."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, make_url, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from models.logins import admit
from models.revision import MIGRATIONS, newest_revision
from omium_core.errors import ConfigurationError

_LOCK = 0x6F6D69756D  # "omium", for pg_advisory_xact_lock
_NOT_ALLOWED = "42501"


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if _current_revision(connection) == newest_revision():
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def upgrade(owner_url: str, service_url: str | None = None) -> None:
    """Runs the missing migrations in one transaction, and lets the login of `service_url` work for tenants.

    Both name the asyncpg driver. The login is made where it is missing; its password becomes that of the address. Raises
    `ConfigurationError` when the owner lacks a right that this needs, and for a login that row security does not bind.
    """
    engine = create_async_engine(owner_url, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
            if service_url is not None and make_url(service_url).username != make_url(owner_url).username:
                await connection.run_sync(admit, make_url(service_url))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_ALLOWED:
            raise
        cause = error.orig.__cause__ if error.orig else None
        reason = str(cause or error.orig).partition("\n")[0]
        raise ConfigurationError(
            f"The owner of the database may not do all that an upgrade needs ({reason}): it must be allowed to make roles "
            "(CREATEROLE), or an administrator makes them beforehand, as deploy/docker/roles.sql does."
        ) from error
    finally:
        await engine.dispose()
