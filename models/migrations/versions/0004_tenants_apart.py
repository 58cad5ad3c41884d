"""Tenants apart: roles that own nothing, row security on every table, and a key for each tenant

Revision: 0004, after: 0003
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

from models.database import APPLICATION_ROLE, SYSTEM_ROLE
from models.migrations.isolation import isolate, make_roles, open_to_system

revision: str = '0004'
down_revision: str | None = '0003'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = (
    'users', 'api_keys', 'workflows', 'workflow_versions', 'executions', 'agents', 'checkpoints', 'lineages', 'failures',
    'execution_events', 'idempotency_keys', 'call_journal', 'approvals', 'effects', 'rollbacks', 'consensus_logs',
    'consensus_acks', 'execution_policies', 'execution_policy_versions', 'recovery_actions', 'notifications',
)


def upgrade() -> None:
    make_roles()
    op.create_table('tenant_keys',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('master_key_id', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('wrapped_key', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('destroyed_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_tenant_keys_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tenant_keys'))
    )
    op.create_index(op.f('ix_tenant_keys_tenant_id'), 'tenant_keys', ['tenant_id'], unique=False)
    # keys are the platform's affair: the application has no grant on them at all
    isolate('tenant_keys', privileges='')
    open_to_system('tenant_keys', 'SELECT', 'INSERT', 'UPDATE')

    isolate('tenants', column='id', privileges='SELECT, UPDATE')
    for table in _TABLES:
        isolate(table)
    open_to_system('tenants', 'SELECT', 'INSERT', 'UPDATE')
    open_to_system('users', 'SELECT', 'INSERT', 'UPDATE')
    open_to_system('api_keys', 'SELECT', 'INSERT', 'UPDATE')
    open_to_system('executions', 'SELECT (id, tenant_id, status, updated_at)')
    open_to_system('execution_events', 'SELECT (id, tenant_id, notify)')
    open_to_system('notifications', 'SELECT (id, tenant_id, target, status, next_attempt_at)')


def downgrade() -> None:
    op.drop_table('tenant_keys')
    for table in ('tenants', *_TABLES):
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"DROP POLICY IF EXISTS system ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM {APPLICATION_ROLE}, {SYSTEM_ROLE}")
