"""Stripe: payments, subscriptions, events

Revision: 0013, after: 0012
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.isolation import isolate, open_to_system

revision: str = '0013'
down_revision: str | None = '0012'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ('payments', 'payment_returns', 'subscriptions', 'auto_topups')
_STATUSES = "'active', 'suspended', 'cancelled', 'trial'"


def upgrade() -> None:
    op.create_table('stripe_webhook_events',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('stripe_event_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('event_type', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('processed', sa.Boolean(), nullable=False),
    sa.Column('processing_error', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('event_data', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('about', postgresql.ARRAY(sa.String(length=255)), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('processed_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stripe_webhook_events')),
    sa.UniqueConstraint('stripe_event_id', name=op.f('uq_stripe_webhook_events_stripe_event_id'))
    )
    op.create_index('ix_stripe_webhook_events_waiting', 'stripe_webhook_events', ['created_at'], unique=False, postgresql_where=sa.text('processed_at IS NULL'))
    op.create_index('ix_stripe_webhook_events_orphans', 'stripe_webhook_events', ['created_at'], unique=False, postgresql_where=sa.text('cardinality(about) > 0'))
    op.create_table('stripe_cursors',
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('reached_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_stripe_cursors'))
    )
    op.create_table('payments',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('stripe_payment_intent_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('stripe_invoice_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('stripe_subscription_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('request_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True),
    sa.Column('amount_cents', sa.BigInteger(), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=10), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('failure_code', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('credits', sa.BigInteger(), nullable=False),
    sa.Column('granted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('returned', sa.BigInteger(), nullable=False),
    sa.Column('shortfall', sa.BigInteger(), nullable=False),
    sa.Column('moves', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("kind IN ('topup', 'auto_topup', 'invoice')", name=op.f('ck_payments_valid_kind')),
    sa.CheckConstraint("status IN ('creating', 'pending', 'failed', 'canceled', 'succeeded')", name=op.f('ck_payments_valid_status')),
    sa.CheckConstraint('returned >= 0 AND shortfall >= 0', name=op.f('ck_payments_not_negative')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_payments_tenant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_payments_user_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payments')),
    sa.UniqueConstraint('stripe_invoice_id', name=op.f('uq_payments_stripe_invoice_id')),
    sa.UniqueConstraint('stripe_payment_intent_id', name=op.f('uq_payments_stripe_payment_intent_id')),
    sa.UniqueConstraint('tenant_id', 'request_key', name=op.f('uq_payments_tenant_id_request_key'))
    )
    op.create_index('ix_payments_tenant_id_id', 'payments', ['tenant_id', 'id'], unique=False)
    op.create_index('ix_payments_creating', 'payments', ['created_at'], unique=False, postgresql_where=sa.text("status = 'creating'"))
    op.create_table('payment_returns',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('stripe_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('stripe_payment_intent_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('amount_cents', sa.BigInteger(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=10), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("kind IN ('refund', 'charge', 'dispute')", name=op.f('ck_payment_returns_valid_kind')),
    sa.CheckConstraint("state IN ('asked', 'open', 'kept', 'void')", name=op.f('ck_payment_returns_valid_state')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_payment_returns_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payment_returns')),
    sa.UniqueConstraint('tenant_id', 'stripe_id', name=op.f('uq_payment_returns_tenant_id_stripe_id'))
    )
    op.create_index('ix_payment_returns_payment', 'payment_returns', ['tenant_id', 'stripe_payment_intent_id'], unique=False)
    op.create_table('subscriptions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('stripe_subscription_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('stripe_customer_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('plan', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=True),
    sa.Column('next_plan', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=True),
    sa.Column('stripe_schedule_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('price_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=30), nullable=False),
    sa.Column('cancel_at_period_end', sa.Boolean(), nullable=False),
    sa.Column('current_period_start', sa.DateTime(timezone=True), nullable=True),
    sa.Column('current_period_end', sa.DateTime(timezone=True), nullable=True),
    sa.Column('canceled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('told_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revision', sqlmodel.sql.sqltypes.AutoString(length=400), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("plan IN ('developer', 'pro', 'enterprise')", name=op.f('ck_subscriptions_valid_plan')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_subscriptions_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_subscriptions')),
    sa.UniqueConstraint('stripe_subscription_id', name=op.f('uq_subscriptions_stripe_subscription_id'))
    )
    op.create_index('ix_subscriptions_tenant_id_id', 'subscriptions', ['tenant_id', 'id'], unique=False)
    op.create_table('auto_topups',
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('threshold', sa.BigInteger(), nullable=False),
    sa.Column('amount_cents', sa.BigInteger(), nullable=False),
    sa.Column('max_per_month', sa.Integer(), nullable=False),
    sa.Column('armed', sa.Boolean(), nullable=False),
    sa.Column('falls', sa.Integer(), nullable=False),
    sa.Column('month', sa.Date(), nullable=True),
    sa.Column('in_month', sa.Integer(), nullable=False),
    sa.Column('paused_reason', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('threshold >= 0 AND amount_cents > 0 AND max_per_month > 0', name=op.f('ck_auto_topups_valid_rule')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_auto_topups_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('tenant_id', name=op.f('pk_auto_topups'))
    )
    # one customer of Stripe's is one tenant
    op.create_index('ix_tenants_stripe_customer_id', 'tenants', ['stripe_customer_id'], unique=True, postgresql_where=sa.text('stripe_customer_id IS NOT NULL'))
    _statuses(f"{_STATUSES}, 'past_due'")
    for table in _TABLES:
        isolate(table)
    # what an event is about is not known before it is looked at: events are the platform's own
    for table in ('stripe_webhook_events', 'stripe_cursors'):
        op.execute(f'ALTER TABLE {table} ENABLE ROW LEVEL SECURITY')
        open_to_system(table, 'SELECT', 'INSERT', 'UPDATE')
    # whose an event is
    open_to_system('payments', 'SELECT (id, tenant_id, kind, status, created_at, stripe_payment_intent_id, stripe_invoice_id)')
    open_to_system('subscriptions', 'SELECT (id, tenant_id, stripe_subscription_id)')
    # whose balance has fallen below its threshold
    open_to_system('auto_topups', 'SELECT (tenant_id, enabled, armed, threshold, paused_at)')


def downgrade() -> None:
    op.execute("UPDATE tenants SET subscription_status = 'active' WHERE subscription_status = 'past_due'")
    _statuses(_STATUSES)
    op.drop_index('ix_tenants_stripe_customer_id', table_name='tenants')
    for table in (*reversed(_TABLES), 'stripe_cursors', 'stripe_webhook_events'):
        op.drop_table(table)


def _statuses(allowed: str) -> None:
    op.drop_constraint(op.f('ck_tenants_valid_status'), 'tenants', type_='check')
    op.create_check_constraint(op.f('ck_tenants_valid_status'), 'tenants', f'subscription_status IN ({allowed})')
