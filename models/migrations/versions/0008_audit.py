"""The audit log: append-only, chained, in monthly partitions

Revision: 0008, after: 0007
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import APPLICATION_ROLE, SYSTEM_ROLE
from models.migrations.isolation import isolate, open_to_system

revision: str = '0008'
down_revision: str | None = '0007'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What only retention does, as the owner of the tables. The setting is a safety catch; what holds everybody else back is that
# neither role has the privilege.
_RETENTION = "current_setting('omium.audit_retention', true) = 'on'"

_FUNCTIONS = """
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('omium.audit_retention', true) = 'on' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NULL END;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit_note_pending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending (tenant_id, audit_id) VALUES (NEW.tenant_id, NEW.id);
    RETURN NULL;
END $$;

-- the smallest UUIDv7 of a moment
CREATE FUNCTION audit_bound(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION audit_protect(partition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('CREATE POLICY retention ON %I TO CURRENT_USER USING (' || {catch} || ')', partition);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION audit_append_only()',
                   partition);
END $$;

-- Makes the partitions of this month and the `ahead` following ones, where they are missing. How many it made.
CREATE FUNCTION audit_make_partitions(first timestamptz, ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    month timestamp := date_trunc('month', first AT TIME ZONE 'UTC');
    made integer := 0;
    name text;
    lower uuid;
    upper uuid;
    late bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit-partitions', 0));
    PERFORM set_config('omium.audit_retention', 'on', true);
    FOR step IN 0..ahead LOOP
        name := 'audit_logs_' || to_char(month, 'YYYY_MM');
        lower := audit_bound(month AT TIME ZONE 'UTC');
        month := month + interval '1 month';
        upper := audit_bound(month AT TIME ZONE 'UTC');
        CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
        SELECT count(*) INTO late FROM audit_logs_default WHERE id >= lower AND id < upper;
        IF late > 0 THEN
            -- a partition that comes late takes what the default one has kept for it; the chain is made over the rows
            ALTER TABLE audit_logs DETACH PARTITION audit_logs_default;
        END IF;
        EXECUTE format('CREATE TABLE %I PARTITION OF audit_logs FOR VALUES FROM (%L) TO (%L)', name, lower, upper);
        IF late > 0 THEN
            EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', name);
            EXECUTE format('WITH moved AS (DELETE FROM audit_logs_default WHERE id >= %L AND id < %L RETURNING *) '
                           'INSERT INTO %I SELECT * FROM moved', lower, upper, name);
            EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', name);
            ALTER TABLE audit_logs ATTACH PARTITION audit_logs_default DEFAULT;
        END IF;
        PERFORM audit_protect(name);
        made := made + 1;
    END LOOP;
    PERFORM set_config('omium.audit_retention', '', true);
    RETURN made;
END $$;

-- Drops the partitions of whole months before a moment, and the links that lead only to them. Returns the id below which
-- entries are gone (NULL: nothing was dropped) and the first link that is left.
CREATE FUNCTION audit_drop_partitions(before timestamptz, OUT removed_before uuid, OUT first_seq bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
#variable_conflict use_variable
DECLARE
    part record;
    month timestamp;
BEGIN
    IF before > now() - interval '28 days' THEN
        RAISE EXCEPTION 'entries of the last 28 days are never dropped' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit-partitions', 0));
    FOR part IN
        SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.audit_logs'::regclass AND c.relname ~ '^audit_logs_\\d{{4}}_\\d{{2}}$' ORDER BY 1
    LOOP
        month := to_date(right(part.name, 7), 'YYYY_MM')::timestamp + interval '1 month';
        IF month AT TIME ZONE 'UTC' <= before THEN
            EXECUTE format('DROP TABLE %I', part.name);
            removed_before := audit_bound(month AT TIME ZONE 'UTC');
        END IF;
    END LOOP;
    IF removed_before IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('omium.audit_retention', 'on', true);
    DELETE FROM audit_logs_default WHERE id < removed_before;
    DELETE FROM audit_pending WHERE audit_id < removed_before;
    SELECT min(seq) INTO first_seq FROM audit_chain WHERE audit_id >= removed_before;
    -- the last link stays in any case: the next one is bound to it
    first_seq := coalesce(first_seq, (SELECT max(seq) FROM audit_chain));
    DELETE FROM audit_chain WHERE seq < first_seq;
    DELETE FROM audit_heads WHERE seq < first_seq;
    PERFORM set_config('omium.audit_retention', '', true);
END $$;
"""

_OWNERS_FUNCTIONS = ("audit_make_partitions(timestamptz, integer)", "audit_drop_partitions(timestamptz)")


def upgrade() -> None:
    op.create_table('audit_logs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('api_key_id', sa.Uuid(), nullable=True),
    sa.Column('action', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('resource_type', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('resource_id', sa.Uuid(), nullable=True),
    sa.Column('old_values', sa.LargeBinary(), nullable=True),
    sa.Column('new_values', sa.LargeBinary(), nullable=True),
    sa.Column('ip_address', sa.LargeBinary(), nullable=True),
    sa.Column('user_agent', sa.LargeBinary(), nullable=True),
    sa.Column('request_id', sqlmodel.sql.sqltypes.AutoString(length=128), nullable=True),
    sa.Column('metadata', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("resource_type ~ '^[a-z][a-z_]*$'", name=op.f('ck_audit_logs_valid_resource_type')),
    sa.CheckConstraint("status IN ('success', 'denied', 'failure')", name=op.f('ck_audit_logs_valid_status')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_audit_logs_tenant_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_logs')),
    postgresql_partition_by='RANGE (id)'
    )
    op.create_index('ix_audit_logs_tenant_id_id', 'audit_logs', ['tenant_id', 'id'], unique=False)
    op.create_index('ix_audit_logs_tenant_id_user_id', 'audit_logs', ['tenant_id', 'user_id'], unique=False)
    op.create_index('ix_audit_logs_tenant_id_resource', 'audit_logs', ['tenant_id', 'resource_type', 'resource_id'], unique=False)
    op.create_table('audit_pending',
    sa.Column('position', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('audit_id', sa.Uuid(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_audit_pending_tenant_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('position', name=op.f('pk_audit_pending'))
    )
    op.create_table('audit_chain',
    sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('tenant_seq', sa.BigInteger(), nullable=False),
    sa.Column('audit_id', sa.Uuid(), nullable=False),
    sa.Column('entry_hash', sa.LargeBinary(), nullable=False),
    sa.Column('previous_hash', sa.LargeBinary(), nullable=False),
    sa.Column('chain_hash', sa.LargeBinary(), nullable=False),
    sa.Column('sealed_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_audit_chain_tenant_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audit_chain')),
    sa.UniqueConstraint('audit_id', name=op.f('uq_audit_chain_audit_id')),
    sa.UniqueConstraint('tenant_id', 'tenant_seq', name=op.f('uq_audit_chain_tenant_id_tenant_seq'))
    )
    op.create_table('audit_heads',
    sa.Column('number', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('chain_hash', sa.LargeBinary(), nullable=False),
    sa.Column('first_seq', sa.BigInteger(), nullable=False),
    sa.Column('first_previous', sa.LargeBinary(), nullable=False),
    sa.Column('removed_before', sa.Uuid(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_audit_heads'))
    )
    op.create_index(op.f('ix_audit_heads_seq'), 'audit_heads', ['seq'], unique=False)

    op.execute("CREATE TABLE audit_logs_default PARTITION OF audit_logs DEFAULT")
    catch = "'" + _RETENTION.replace("'", "''") + "'"
    for function in _FUNCTIONS.format(catch=catch).split("\n\n"):
        op.execute(function)
    for function in _OWNERS_FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {SYSTEM_ROLE}")

    isolate('audit_logs', privileges='SELECT, INSERT')
    open_to_system('audit_logs', 'SELECT', 'INSERT')
    isolate('audit_pending', privileges='INSERT')
    open_to_system('audit_pending', 'SELECT', 'INSERT', 'DELETE')
    isolate('audit_chain', privileges='SELECT')
    open_to_system('audit_chain', 'SELECT', 'INSERT')
    op.execute("ALTER TABLE audit_heads ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE audit_heads FORCE ROW LEVEL SECURITY")
    open_to_system('audit_heads', 'SELECT', 'INSERT')
    for table in ('audit_logs', 'audit_chain', 'audit_heads'):
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
        )
    op.execute(
        "CREATE TRIGGER note_pending AFTER INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION audit_note_pending()"
    )
    for table in ('audit_logs_default', 'audit_pending', 'audit_chain', 'audit_heads'):
        if table == 'audit_logs_default':
            op.execute("SELECT audit_protect('audit_logs_default')")
            continue
        op.execute(f"CREATE POLICY retention ON {table} TO CURRENT_USER USING ({_RETENTION})")
    for table in ('audit_logs', 'audit_chain', 'audit_heads'):
        op.execute(
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION audit_append_only()"
        )
    # an id may have been made just before midnight of the first day of a month
    op.execute("SELECT audit_make_partitions(now() - interval '1 month', 4)")


def downgrade() -> None:
    for table in ('audit_heads', 'audit_chain', 'audit_pending', 'audit_logs'):
        op.drop_table(table)
    for function in (
        *_OWNERS_FUNCTIONS, "audit_protect(text)", "audit_bound(timestamptz)", "audit_note_pending()", "audit_append_only()"
    ):
        op.execute(f"DROP FUNCTION {function}")
