"""Schedules and outgoing webhooks

Revision: 0011, after: 0010
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.isolation import isolate, open_to_system

revision: str = '0011'
down_revision: str | None = '0010'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ('schedules', 'schedule_runs', 'schedule_commands', 'webhook_endpoints', 'webhook_deliveries')

# the events of runs that notify, and those that an endpoint of the tenant wants to hear of
_MARK = """
CREATE OR REPLACE FUNCTION mark_event_to_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.notify := coalesce((SELECT notifies FROM executions WHERE id = NEW.execution_id), false)
        OR EXISTS (
            SELECT FROM webhook_endpoints
            WHERE tenant_id = NEW.tenant_id AND enabled
            AND events && ARRAY['*', NEW.event_type, split_part(NEW.event_type, '.', 1) || '.*']::varchar[]
        );
    RETURN NEW;
END
$$
"""
_MARK_BEFORE = """
CREATE OR REPLACE FUNCTION mark_event_to_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.notify := coalesce((SELECT notifies FROM executions WHERE id = NEW.execution_id), false);
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.create_table('schedules',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('workflow_id', sa.Uuid(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('description', sa.LargeBinary(), nullable=True),
    sa.Column('cron', postgresql.ARRAY(sa.String(length=255)), nullable=True),
    sa.Column('interval_seconds', sa.Float(), nullable=True),
    sa.Column('timezone', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('inputs', sa.LargeBinary(), nullable=False),
    sa.Column('overlap_policy', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('catchup_window', sa.Float(), nullable=False),
    sa.Column('paused', sa.Boolean(), nullable=False),
    sa.Column('note', sa.LargeBinary(), nullable=True),
    sa.Column('start_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('end_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('synced_revision', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("overlap_policy IN ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all')", name=op.f('ck_schedules_valid_overlap')),
    sa.CheckConstraint('(cron IS NULL) <> (interval_seconds IS NULL)', name=op.f('ck_schedules_cron_or_interval')),
    sa.ForeignKeyConstraint(['created_by'], ['users.id'], name=op.f('fk_schedules_created_by'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_schedules_tenant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workflow_id'], ['workflows.id'], name=op.f('fk_schedules_workflow_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_schedules'))
    )
    op.create_index(op.f('ix_schedules_workflow_id'), 'schedules', ['workflow_id'], unique=False)
    op.create_index('ix_schedules_tenant_id_id', 'schedules', ['tenant_id', 'id'], unique=False)
    op.create_index('ix_schedules_not_synced', 'schedules', ['id'], unique=False, postgresql_where=sa.text('synced_revision < revision'))
    op.create_table('schedule_runs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('schedule_id', sa.Uuid(), nullable=False),
    sa.Column('scheduled_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('error_code', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('error_message', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("status IN ('started', 'refused')", name=op.f('ck_schedule_runs_valid_status')),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_schedule_runs_execution_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['schedule_id'], ['schedules.id'], name=op.f('fk_schedule_runs_schedule_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_schedule_runs_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_schedule_runs')),
    sa.UniqueConstraint('schedule_id', 'scheduled_at', name=op.f('uq_schedule_runs_schedule_id_scheduled_at'))
    )
    op.create_index(op.f('ix_schedule_runs_tenant_id'), 'schedule_runs', ['tenant_id'], unique=False)
    op.create_index(op.f('ix_schedule_runs_execution_id'), 'schedule_runs', ['execution_id'], unique=False)
    op.create_index('ix_schedule_runs_schedule_id_id', 'schedule_runs', ['schedule_id', 'id'], unique=False)
    op.create_table('schedule_commands',
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_schedule_commands_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('tenant_id', 'key', name=op.f('pk_schedule_commands'))
    )
    op.create_table('webhook_endpoints',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('url', sa.LargeBinary(), nullable=False),
    sa.Column('host', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('description', sa.LargeBinary(), nullable=True),
    sa.Column('events', postgresql.ARRAY(sa.String(length=100)), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('disabled_reason', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('secret', sa.LargeBinary(), nullable=False),
    sa.Column('previous_secret', sa.LargeBinary(), nullable=True),
    sa.Column('previous_secret_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_webhook_endpoints_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_endpoints'))
    )
    op.create_index('ix_webhook_endpoints_tenant_id_id', 'webhook_endpoints', ['tenant_id', 'id'], unique=False)
    op.create_index('ix_webhook_endpoints_listening', 'webhook_endpoints', ['tenant_id'], unique=False, postgresql_where=sa.text('enabled'))
    op.create_table('webhook_deliveries',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('endpoint_id', sa.Uuid(), nullable=False),
    sa.Column('message_id', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('event_type', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('subject', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('payload', sa.LargeBinary(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('response_code', sa.Integer(), nullable=True),
    sa.Column('duration_ms', sa.Integer(), nullable=True),
    sa.Column('last_error', sa.LargeBinary(), nullable=True),
    sa.Column('attempt_log', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name=op.f('ck_webhook_deliveries_valid_status')),
    sa.ForeignKeyConstraint(['endpoint_id'], ['webhook_endpoints.id'], name=op.f('fk_webhook_deliveries_endpoint_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_webhook_deliveries_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_deliveries')),
    sa.UniqueConstraint('endpoint_id', 'message_id', name=op.f('uq_webhook_deliveries_endpoint_id_message_id'))
    )
    op.create_index(op.f('ix_webhook_deliveries_tenant_id'), 'webhook_deliveries', ['tenant_id'], unique=False)
    op.create_index('ix_webhook_deliveries_endpoint_id_id', 'webhook_deliveries', ['endpoint_id', 'id'], unique=False)
    op.create_index('ix_webhook_deliveries_due', 'webhook_deliveries', ['endpoint_id', 'next_attempt_at'], unique=False, postgresql_where=sa.text("status = 'pending'"))
    for table in _TABLES:
        isolate(table)
    open_to_system('schedules', 'SELECT (id, tenant_id, revision, synced_revision, updated_at)')
    open_to_system('webhook_deliveries', 'SELECT (id, tenant_id, endpoint_id, status, next_attempt_at)')
    op.execute(_MARK)


def downgrade() -> None:
    op.execute(_MARK_BEFORE)
    for table in reversed(_TABLES):
        op.drop_table(table)
