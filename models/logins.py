"""The logins of PostgreSQL that the platform works with: one that owns the tables, and one to which row security applies.

The second one is that of API and workers. Whoever is a superuser, has BYPASSRLS or owns tables sees the rows of all tenants
whatever the policies say, so in production such a login is refused: when a process starts, and again for each connection,
since the database may be away at the start.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, text

from omium_core.errors import ConfigurationError

#: Roles of PostgreSQL, made by the migrations: neither owns a table, and both are subject to row security.
APPLICATION_ROLE = "omium_app"
SYSTEM_ROLE = "omium_system"

#: What a login is, itself or as a member of another role (a superuser counts as a member of every role).
_RIGHTS = """
SELECT coalesce(bool_or(rolsuper), false), coalesce(bool_or(rolbypassrls), false),
    EXISTS (
        SELECT FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p', 'v', 'm')
        AND pg_has_role({login}, relowner, 'MEMBER')
    )
FROM pg_roles WHERE pg_has_role({login}, oid, 'MEMBER')
"""
_REASONS = ("is a superuser", "may bypass row security", "owns tables")


def refuse_if_unbound(dbapi_connection: Any, _record: object) -> None:
    """For each new connection of a pool: raises `ConfigurationError` for a login to which row security does not apply."""
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(_RIGHTS.format(login="session_user"))
        rights = cursor.fetchone()
    finally:
        cursor.close()
        dbapi_connection.rollback()
    try:
        _judge(rights, "OMIUM_DATABASE_URL names a login that")
    except ConfigurationError:
        dbapi_connection.terminate()
        raise


def _judge(rights: Any, subject: str) -> None:
    reasons = [reason for reason, has in zip(_REASONS, rights, strict=True) if has]
    if reasons:
        raise ConfigurationError(
            f"{subject} {' and '.join(reasons)}, so that nothing would keep tenants apart: use one that owns nothing, such "
            "as `omium db upgrade` makes, and name the owner in OMIUM_OWNER_DATABASE_URL for that command alone."
        )


def admit(connection: Connection, service: URL) -> None:
    """Makes the login of the service, or gives it the password of its address, and lets it become the two roles.

    For the owner of the tables. Where an administrator has done that already, nothing is left to do, and no right to do
    it is needed. Raises `ConfigurationError` for a login to which row security would not apply.
    """
    named = {"name": service.username, "password": service.password}
    known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), named).scalar()
    if not known:
        make = "CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD %L"
        _execute(connection, make, named)
    elif connection.execute(_MAY_ALTER, named).scalar():
        _execute(connection, "ALTER ROLE %I LOGIN PASSWORD %L", named)
    for role in (APPLICATION_ROLE, SYSTEM_ROLE):
        if not connection.execute(text(f"SELECT pg_has_role(:name, '{role}', 'SET')"), named).scalar():
            _execute(connection, f"GRANT {role} TO %I WITH INHERIT FALSE, SET TRUE", named)
    enters = text("SELECT has_database_privilege(:name, current_database(), 'CONNECT')")
    if not connection.execute(enters, named).scalar():
        _execute(connection, "GRANT CONNECT ON DATABASE %3$I TO %1$I", named)
    rights = connection.execute(text(_RIGHTS.format(login="CAST(:name AS name)")), named).one()
    _judge(rights, f"The login {service.username!r} of OMIUM_DATABASE_URL")


_MAY_ALTER = text("""
SELECT rolsuper OR (rolcreaterole AND pg_has_role(current_user, CAST(:name AS name), 'MEMBER WITH ADMIN OPTION'))
FROM pg_roles WHERE rolname = current_user
""")


def _execute(connection: Connection, template: str, named: dict[str, str | None]) -> None:
    """A statement of this kind takes no parameters: the server quotes them."""
    quoted = text(f"SELECT format('{template}', CAST(:name AS text), CAST(:password AS text), current_database())")
    connection.exec_driver_sql(str(connection.execute(quoted, named).scalar_one()))
