"""External connections

Revision: 0010, after: 0009
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

from models.migrations.isolation import isolate

revision: str = '0010'
down_revision: str | None = '0009'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('external_workflow_connections',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('connection_type', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('connection_name', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('crew_url', sa.LargeBinary(), nullable=False),
    sa.Column('bearer_token_encrypted', sa.Text(), nullable=False),
    sa.Column('token_hint', sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
    sa.Column('metadata', sa.LargeBinary(), nullable=False),
    sa.Column('is_active', sa.Boolean(), nullable=False),
    sa.Column('last_synced_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("connection_type IN ('crewai_aop', 'langgraph_cloud', 'autogen_studio', 'model_provider')", name=op.f('ck_external_workflow_connections_valid_connection_type')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_external_workflow_connections_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_external_workflow_connections'))
    )
    op.create_index(op.f('ix_external_workflow_connections_connection_type'), 'external_workflow_connections', ['connection_type'], unique=False)
    op.create_index(op.f('ix_external_workflow_connections_tenant_id'), 'external_workflow_connections', ['tenant_id'], unique=False)
    op.create_table('external_kickoffs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('connection_id', sa.Uuid(), nullable=False),
    sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('kickoff_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['connection_id'], ['external_workflow_connections.id'], name=op.f('fk_external_kickoffs_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_external_kickoffs_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_external_kickoffs')),
    sa.UniqueConstraint('connection_id', 'idempotency_key', name=op.f('uq_external_kickoffs_connection_id_idempotency_key'))
    )
    op.create_index(op.f('ix_external_kickoffs_tenant_id'), 'external_kickoffs', ['tenant_id'], unique=False)
    isolate('external_workflow_connections')
    isolate('external_kickoffs')


def downgrade() -> None:
    op.drop_table('external_kickoffs')
    op.drop_table('external_workflow_connections')
