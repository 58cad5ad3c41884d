"""Notifications: the outbox, and what marks the events that go into it

Revision: 0003, after: 0002
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0003'
down_revision: str | None = '0002'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


# a trigger, because events are written in many places, some in the midst of one large statement
_MARK = """
CREATE FUNCTION mark_event_to_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.notify := coalesce((SELECT notifies FROM executions WHERE id = NEW.execution_id), false);
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.create_table('notifications',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('event_id', sa.Uuid(), nullable=False),
    sa.Column('event_type', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('source', sqlmodel.sql.sqltypes.AutoString(length=36), nullable=False),
    sa.Column('source_version', sa.Integer(), nullable=False),
    sa.Column('channel', sa.Integer(), nullable=False),
    sa.Column('channel_type', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('target', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('payload', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_error', sqlmodel.sql.sqltypes.AutoString(length=500), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('pending', 'sent', 'failed', 'dropped')", name=op.f('ck_notifications_valid_status')),
    sa.ForeignKeyConstraint(['event_id'], ['execution_events.id'], name=op.f('fk_notifications_event_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_notifications_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_notifications_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notifications')),
    sa.UniqueConstraint('event_id', 'source', 'channel', name=op.f('uq_notifications_event_id_source_channel'))
    )
    op.create_index('ix_notifications_due', 'notifications', ['next_attempt_at'], unique=False, postgresql_where=sa.text("status = 'pending'"))
    op.create_index(op.f('ix_notifications_execution_id'), 'notifications', ['execution_id'], unique=False)
    op.create_index('ix_notifications_tenant_id_id', 'notifications', ['tenant_id', 'id'], unique=False)
    op.add_column('execution_events', sa.Column('notify', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.create_index('ix_execution_events_notify', 'execution_events', ['id'], unique=False, postgresql_where=sa.text('notify'))
    op.add_column('executions', sa.Column('notifies', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    # runs that are under way notify from now on
    op.execute("UPDATE executions SET notifies = true WHERE jsonb_array_length(policy -> 'notify') > 0")
    op.execute(_MARK)
    op.execute(
        'CREATE TRIGGER mark_event_to_notify BEFORE INSERT ON execution_events '
        'FOR EACH ROW EXECUTE FUNCTION mark_event_to_notify()'
    )


def downgrade() -> None:
    op.execute('DROP TRIGGER mark_event_to_notify ON execution_events')
    op.execute('DROP FUNCTION mark_event_to_notify')
    op.drop_column('executions', 'notifies')
    op.drop_index('ix_execution_events_notify', table_name='execution_events', postgresql_where=sa.text('notify'))
    op.drop_column('execution_events', 'notify')
    op.drop_index('ix_notifications_tenant_id_id', table_name='notifications')
    op.drop_index(op.f('ix_notifications_execution_id'), table_name='notifications')
    op.drop_index('ix_notifications_due', table_name='notifications', postgresql_where=sa.text("status = 'pending'"))
    op.drop_table('notifications')
