"""What every migration that makes a table of tenants says about who may see its rows.

`omium_app` works for one tenant at a time, the one that its transaction names, and sees no other row; `omium_system` works
for the platform before a tenant is known, and sees the columns that it was granted and no other. Neither owns a table.
"""

from __future__ import annotations

from alembic import op

from models.database import APPLICATION_ROLE, SYSTEM_ROLE

#: The tenant of the transaction; an empty setting reads as no tenant.
CURRENT_TENANT = "nullif(current_setting('omium.tenant_id', true), '')::uuid"


def isolate(table: str, *, column: str = "tenant_id", privileges: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Lets the application see and write rows of its own tenant only: forced row security, and the grants."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
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
