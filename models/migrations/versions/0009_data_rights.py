"""Exports, erasure and retention

Revision: 0009, after: 0008
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

from models.database import APPLICATION_ROLE
from models.migrations.isolation import isolate, open_to_system

revision: str = '0009'
down_revision: str | None = '0008'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('data_requests',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('subject_user_id', sa.Uuid(), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('phase', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('rows_total', sa.BigInteger(), nullable=False),
    sa.Column('rows_done', sa.BigInteger(), nullable=False),
    sa.Column('error', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('requested_by_user', sa.Uuid(), nullable=True),
    sa.Column('requested_by_key', sa.Uuid(), nullable=True),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("kind IN ('export', 'erasure')", name=op.f('ck_data_requests_valid_kind')),
    sa.CheckConstraint(
        "status IN ('pending', 'running', 'ready', 'expired', 'completed', 'cancelled', 'failed')",
        name=op.f('ck_data_requests_valid_status'),
    ),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_data_requests_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_data_requests'))
    )
    op.create_index('ix_data_requests_tenant_id_id', 'data_requests', ['tenant_id', 'id'], unique=False)
    op.create_table('unreferenced_objects',
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('digest', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_unreferenced_objects_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('tenant_id', 'digest', name=op.f('pk_unreferenced_objects'))
    )
    # what was asked for stays on record: nobody but retention has a reason to delete such a row
    isolate('data_requests', privileges='SELECT, INSERT, UPDATE')
    open_to_system('data_requests', 'SELECT', 'INSERT', 'UPDATE')
    isolate('unreferenced_objects')
    # the rows of a tenant that is erased
    op.execute(f"GRANT DELETE ON api_usage TO {APPLICATION_ROLE}")


def downgrade() -> None:
    op.execute(f"REVOKE DELETE ON api_usage FROM {APPLICATION_ROLE}")
    op.drop_table('unreferenced_objects')
    op.drop_table('data_requests')
