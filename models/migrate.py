"""Brings a database to the newest schema. Quick when it is there already; safe when several processes try at once."""

from __future__ import annotations

from sqlalchemy import URL, Connection, inspect, make_url, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from models.database import APPLICATION_ROLE, SYSTEM_ROLE
from models.revision import MIGRATIONS, newest_revision

_LOCK = 0x6F6D69756D  # "omium", for pg_advisory_xact_lock


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

    Both name the asyncpg driver. The login is made where it is missing; its password becomes that of the address.
    """
    engine = create_async_engine(owner_url, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
            if service_url is not None and make_url(service_url).username != make_url(owner_url).username:
                await connection.run_sync(_admit, make_url(service_url))
    finally:
        await engine.dispose()


def _admit(connection: Connection, service: URL) -> None:
    """A login that owns nothing, is subject to row security, and may become the two roles."""
    named = {"name": service.username, "password": service.password}
    known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), named).scalar()
    verb = "ALTER" if known else "CREATE"
    # a statement of this kind takes no parameters: the server quotes them
    make = f"{verb} ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD %L"
    for template in (make, f"GRANT {APPLICATION_ROLE}, {SYSTEM_ROLE} TO %I"):
        statement = text(f"SELECT format('{template}', CAST(:name AS text), CAST(:password AS text))")
        connection.exec_driver_sql(str(connection.execute(statement, named).scalar_one()))
