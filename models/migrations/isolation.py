"""What every migration that makes a table of tenants says about who may see its rows.

`omium_app` works for one tenant at a time, the one that its transaction names, and sees no other row; `omium_system` works
for the platform before a tenant is known, and sees the columns that it was granted and no other. Neither owns a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy import Connection, text

from models.database import APPLICATION_ROLE, SYSTEM_ROLE

#: The tenant of the transaction; an empty setting reads as no tenant.
CURRENT_TENANT = "nullif(current_setting('omium.tenant_id', true), '')::uuid"

# roles belong to the whole server, where another database of ours may have made them
_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
# whoever is a member already need not have the right to say so again; the owner acts as a role only where it says so
_MEMBER = """
DO $$ BEGIN
    IF NOT pg_has_role(current_user, '{role}', 'SET') THEN
        GRANT {role} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
END $$
"""

_GUARDED = text("""
SELECT c.oid::regclass::text AS name, c.relforcerowsecurity AS forced FROM pg_class c
WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
ORDER BY c.oid
""")


def make_roles() -> None:
    """Makes the two roles where they are missing, and the owner of the tables a member of both."""
    for role in (APPLICATION_ROLE, SYSTEM_ROLE):
        op.execute(_ROLE.format(role=role))
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        op.execute(_MEMBER.format(role=role))


def isolate(table: str, *, column: str = "tenant_id", privileges: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Lets the application see and write rows of its own tenant only. Without `privileges` it cannot do even that.

    The owner is forced to obey too, as soon as all migrations of the run are done: see `as_owner`.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    if privileges:
        op.execute(f"GRANT {privileges} ON {table} TO {APPLICATION_ROLE}")
    op.execute(
        f"CREATE POLICY tenant ON {table} TO {APPLICATION_ROLE} "
        f"USING ({column} = {CURRENT_TENANT}) WITH CHECK ({column} = {CURRENT_TENANT})"
    )


def open_to_system(table: str, *privileges: str) -> None:
    """Lets the platform itself do this, on rows of all tenants; `SELECT (id, status)` grants columns."""
    for privilege in privileges:
        op.execute(f"GRANT {privilege} ON {table} TO {SYSTEM_ROLE}")
    op.execute(f"CREATE POLICY system ON {table} TO {SYSTEM_ROLE} USING (true) WITH CHECK (true)")


@contextmanager
def as_owner(connection: Connection) -> Iterator[None]:
    """Inside the block, the owner of the tables sees all rows, so that migrations can change them; afterwards row security
    is forced on every table that has it. Nobody else notices: it is one transaction.

    A superuser sees all rows anyway; any other owner would change none of them, without an error.
    """
    if not connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar_one():
        for table in connection.execute(_GUARDED).all():
            connection.exec_driver_sql(f"ALTER TABLE {table.name} NO FORCE ROW LEVEL SECURITY")
    yield
    for table in connection.execute(_GUARDED).all():
        if not table.forced:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY")
