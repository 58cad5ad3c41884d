"""Limits of tenants and keys: the queue of executions, rotated and narrowed keys, the requests of a month

Revision: 0007, after: 0006
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import SYSTEM_ROLE
from models.migrations.isolation import isolate, open_to_system

revision: str = '0007'
down_revision: str | None = '0006'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# the tenant of whoever runs the installation: its own requests are not what limits are for
_FIRST_TENANT = """
UPDATE tenants
SET limits = '{"requests_per_minute": null, "requests_per_hour": null,
               "execution_requests_per_minute": null, "execution_requests_per_hour": null}',
    max_concurrent_executions = greatest(max_concurrent_executions, 25),
    max_checkpoints_per_month = 2000000000, max_api_calls_per_month = 2000000000
WHERE slug = 'default'
"""


def upgrade() -> None:
    op.add_column('tenants', sa.Column('limits', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False))

    op.add_column('api_keys', sa.Column('previous_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True))
    op.add_column('api_keys', sa.Column('previous_expires_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('api_keys', sa.Column('rotated_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('api_keys', sa.Column('permissions', postgresql.ARRAY(sa.String(length=100)), nullable=True))
    op.add_column('api_keys', sa.Column('rate_limit_per_minute', sa.Integer(), nullable=True))
    op.add_column('api_keys', sa.Column('rate_limit_per_hour', sa.Integer(), nullable=True))
    op.create_unique_constraint(op.f('uq_api_keys_previous_hash'), 'api_keys', ['previous_hash'])

    op.create_table('api_usage',
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('month', sa.Date(), nullable=False),
    sa.Column('calls', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_api_usage_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('tenant_id', 'month', name=op.f('pk_api_usage'))
    )
    isolate('api_usage', privileges='SELECT')
    # one statement writes what a process counted for all tenants
    open_to_system('api_usage', 'SELECT', 'INSERT', 'UPDATE')

    op.add_column('executions', sa.Column('queued_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('executions', sa.Column('admitted_at', sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE executions SET queued_at = created_at, admitted_at = created_at")
    op.alter_column('executions', 'queued_at', nullable=False)
    op.create_index('ix_executions_waiting', 'executions', ['tenant_id', 'queued_at', 'id'], unique=False, postgresql_where=sa.text("status = 'pending' AND admitted_at IS NULL"))
    op.create_index('ix_executions_under_way', 'executions', ['tenant_id'], unique=False, postgresql_where=sa.text("status IN ('pending', 'running')"))
    op.create_index('ix_checkpoints_tenant_id_created_at', 'checkpoints', ['tenant_id', 'created_at'], unique=False)
    # who looks for executions whose turn has come works before a tenant is known
    op.execute(f"GRANT SELECT (admitted_at, queued_at) ON executions TO {SYSTEM_ROLE}")
    op.execute(_FIRST_TENANT)


def downgrade() -> None:
    op.drop_index('ix_checkpoints_tenant_id_created_at', table_name='checkpoints')
    op.drop_index('ix_executions_under_way', table_name='executions')
    op.drop_index('ix_executions_waiting', table_name='executions')
    op.drop_column('executions', 'admitted_at')
    op.drop_column('executions', 'queued_at')
    op.drop_table('api_usage')
    op.drop_constraint(op.f('uq_api_keys_previous_hash'), 'api_keys', type_='unique')
    for name in ('rate_limit_per_hour', 'rate_limit_per_minute', 'permissions', 'rotated_at', 'previous_expires_at', 'previous_hash'):
        op.drop_column('api_keys', name)
    op.drop_column('tenants', 'limits')
