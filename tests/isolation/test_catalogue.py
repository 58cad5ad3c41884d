"""What PostgreSQL itself says about every table that is there: none is open to another tenant, and a new one is found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from models.logins import APPLICATION_ROLE, SYSTEM_ROLE
from models.sealing import SealedBytes, SealedJson, SealedText
from models.tables import Table
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import add_execution, add_tenant

ROLES = (APPLICATION_ROLE, SYSTEM_ROLE)
NOT_ALLOWED = "42501"
#: Sealed values that the platform reads as they lie there: the chain of the audit log is over them.
CHAINED = {"audit_logs"}
#: What the platform reads as a whole: who may sign in and with what, the keys, the counters, the chain of the audit log.
WHOLE = {
    *("tenants", "users", "roles", "user_roles", "sessions", "invitations", "api_keys", "api_usage", "tenant_keys"),
    *("accounts", "account_tokens", "oauth_states", "sign_in_failures", "signing_keys"),
    *("audit_logs", "audit_chain", "audit_heads", "audit_pending", "data_requests"),
    # whose an event of Stripe is must be found out first
    *("stripe_webhook_events", "stripe_cursors"),
    # what holds for all; whose run could pay now; counters
    *("prices", "parked_runs", "api_usage_hours"),
}
#: The one condition under which the application may see or write a row.
OWN = "({column} = (NULLIF(current_setting('omium.tenant_id'::text, true), ''::text))::uuid)"
#: What holds for everybody is read by everybody, and written by none of them.
FOR_ALL = {"prices": f"((tenant_id IS NULL) OR {OWN.format(column='tenant_id')})"}

TABLES = """
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, c.relispartition AS partition,
    (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid
        AND a.attname = CASE c.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END) AS column
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
ORDER BY c.relname
"""
POLICIES = """
SELECT tablename, policyname, permissive, roles::text[] AS roles, qual, with_check FROM pg_policies WHERE schemaname = 'public'
"""


@pytest.fixture
async def admin(postgres: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the superuser, who sees everything and may become anybody."""
    connection = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))
    yield connection
    await connection.close()


async def tables(admin: asyncpg.Connection, *, partitions: bool = False) -> Sequence[Any]:
    found = [row for row in await admin.fetch(TABLES) if row["partition"] is partitions]
    assert partitions or len(found) >= 22
    return found


async def privileges(admin: asyncpg.Connection, role: str, table: str) -> set[str]:
    """What a role may do with a table, or with some of its columns."""
    known = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
    found = set()
    for name in known:
        asked = ["has_table_privilege($1, $2, $3)"]
        if name in ("SELECT", "INSERT", "UPDATE", "REFERENCES"):
            asked.append("has_any_column_privilege($1, $2, $3)")
        if await admin.fetchval(f"SELECT {' OR '.join(asked)}", role, table, name):
            found.add(name)
    return found


async def test_row_security_is_on_and_forced_on_every_table(admin: asyncpg.Connection) -> None:
    for table in await tables(admin):
        assert (table["enabled"], table["forced"]) == (True, True), table["name"]


async def test_application_is_bound_to_the_tenant_on_every_table(admin: asyncpg.Connection) -> None:
    policies = await admin.fetch(POLICIES)
    for table in await tables(admin):
        own = [row for row in policies if row["tablename"] == table["name"] and APPLICATION_ROLE in row["roles"]]
        if table["column"] is None or not own:
            # a table of the platform: the application cannot even look
            assert not own, table["name"]
            assert not await privileges(admin, APPLICATION_ROLE, table["name"]), table["name"]
        for row in own:
            wanted = FOR_ALL.get(table["name"]) or OWN.format(column=table["column"])
            assert {row["qual"], row["with_check"]} <= {wanted, None}, table["name"]
            assert (row["permissive"], row["roles"]) == ("PERMISSIVE", [APPLICATION_ROLE]), table["name"]
            if table["name"] in FOR_ALL:
                assert await privileges(admin, APPLICATION_ROLE, table["name"]) == {"SELECT"}


async def test_no_policy_speaks_of_everybody(admin: asyncpg.Connection) -> None:
    owner = await admin.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'tenants'")
    for row in await admin.fetch(POLICIES):
        assert set(row["roles"]) <= {*ROLES, owner}, row["tablename"]


async def test_roles_own_nothing_and_are_bound(admin: asyncpg.Connection) -> None:
    for role in ROLES:
        rights = await admin.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin FROM pg_roles "
            "WHERE rolname = $1",
            role,
        )
        assert not any(rights.values()), role
        assert await admin.fetchval("SELECT count(*) FROM pg_class WHERE relowner = $1::regrole", role) == 0
        assert await admin.fetchval("SELECT count(*) FROM pg_auth_members WHERE member = $1::regrole", role) == 0
        assert not await admin.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", role)


async def test_nobody_empties_a_table_or_hangs_something_on_it(admin: asyncpg.Connection) -> None:
    for table in await tables(admin):
        for role in ROLES:
            held = await privileges(admin, role, table["name"])
            assert held <= {"SELECT", "INSERT", "UPDATE", "DELETE"}, (role, table["name"])


async def test_parts_of_tables_are_reached_through_the_whole_alone(admin: asyncpg.Connection) -> None:
    """The policies of a table do not hold for somebody who names a partition of it."""
    found = await tables(admin, partitions=True)
    assert found
    for table in found:
        for role in ROLES:
            assert not await privileges(admin, role, table["name"]), (role, table["name"])


async def test_no_view_or_function_lends_the_rights_of_its_owner(admin: asyncpg.Connection) -> None:
    views = await admin.fetch(
        "SELECT relname, relkind = 'v' AND coalesce('security_invoker=true' = ANY (reloptions), false) AS bound "
        "FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
    )
    assert {"transactions", "credit_usage"} <= {view["relname"] for view in views}
    assert not [view["relname"] for view in views if not view["bound"]]
    lending = await admin.fetch(
        "SELECT oid::regprocedure::text AS name, has_function_privilege($1, oid, 'EXECUTE') AS callable FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace AND prosecdef",
        APPLICATION_ROLE,
    )
    assert not [row["name"] for row in lending if row["callable"]]


async def test_platform_reads_no_sealed_value(admin: asyncpg.Connection) -> None:
    sealed = [
        (table.name, column.name)
        for table in Table.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, SealedBytes | SealedJson | SealedText) and table.name not in CHAINED
    ]
    assert len(sealed) > 20
    for table, column in sealed:
        assert not await admin.fetchval(
            "SELECT has_column_privilege($1, $2, $3, 'SELECT')", SYSTEM_ROLE, table, column
        ), (table, column)


async def test_platform_sees_of_runs_and_definitions_only_what_tells_whose_turn_it_is(
    admin: asyncpg.Connection,
) -> None:
    """A grant on a whole table needs a line in WHOLE, and a reason."""
    whole = {
        table["name"]
        for table in await tables(admin)
        if await admin.fetchval("SELECT has_table_privilege($1, $2, 'SELECT')", SYSTEM_ROLE, table["name"])
    }
    assert whole <= WHOLE


@pytest.mark.parametrize("setting", [None, "", "another"], ids=["missing", "empty", "another tenant's"])
async def test_rows_of_a_tenant_cannot_be_touched(
    admin: asyncpg.Connection, postgres: PostgresServer, setting: str | None
) -> None:
    database = database_at(postgres.url)
    owner, other = await add_tenant(database), await add_tenant(database)
    await add_execution(database, owner)
    await add_execution(database, other)
    await database.close()
    with_rows = 0
    for table in await tables(admin):
        if table["column"] is None:
            continue
        name, column = table["name"], table["column"]
        there = await admin.fetchval(f"SELECT count(*) FROM {name} WHERE {column} = $1", owner)
        with_rows += bool(there)
        held = await privileges(admin, APPLICATION_ROLE, name)
        # a price without a tenant holds for all
        foreign = f"{column} <> '{other}'" if name == "prices" else f"{column} IS DISTINCT FROM '{other}'"
        for statement, needed in (
            (f"SELECT count(*) FROM {name} WHERE {column} = '{owner}'", "SELECT"),
            (f"SELECT count(*) FROM {name} WHERE {foreign}", "SELECT"),
            (
                f"WITH done AS (UPDATE {name} SET {column} = {column} RETURNING {column}) "
                f"SELECT count(*) FROM done WHERE {column} = '{owner}'",
                "UPDATE",
            ),
            (
                f"WITH done AS (DELETE FROM {name} WHERE {column} = '{owner}' RETURNING 1) SELECT count(*) FROM done",
                "DELETE",
            ),
        ):
            if needed in held:
                assert await as_application(admin, setting, other, statement) in (0, NOT_ALLOWED), (name, statement)
        insert = f"INSERT INTO {name} ({column}) VALUES ('{owner}')"
        assert await as_application(admin, setting, other, insert) == NOT_ALLOWED, name
        if setting == "another" and "UPDATE" in held and name != "tenants":
            given_away = f"WITH done AS (UPDATE {name} SET {column} = '{owner}' RETURNING 1) SELECT count(*) FROM done"
            assert await as_application(admin, setting, other, given_away) in (0, NOT_ALLOWED), name
        assert await admin.fetchval(f"SELECT count(*) FROM {name} WHERE {column} = $1", owner) == there, name
    assert with_rows >= 20


async def as_application(admin: asyncpg.Connection, setting: str | None, other: UUID, statement: str) -> Any:
    """What a statement gives the application, or the code of the error; nothing of it stays."""
    transaction = admin.transaction()
    await transaction.start()
    try:
        await admin.execute(f"SET LOCAL ROLE {APPLICATION_ROLE}")
        if setting is not None:
            await admin.execute(f"SET LOCAL omium.tenant_id = '{other if setting else ''}'")
        return await admin.fetchval(statement)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    finally:
        await transaction.rollback()
