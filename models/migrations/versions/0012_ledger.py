"""Credits: accounts, ledger, grants, holds, budgets, prices

Revision: 0012, after: 0011
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import APPLICATION_ROLE, SYSTEM_ROLE
from models.migrations.isolation import CURRENT_TENANT, isolate, open_to_system
from models.migrations.ledger_functions import DROPS, FUNCTIONS, VIEWS

revision: str = '0012'
down_revision: str | None = '0011'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ('credit_accounts', 'credit_grants', 'credit_holds', 'budgets', 'parked_runs', 'billing_notices')

# what everybody pays, and what the tenant has been promised
_PRICES = f"""
ALTER TABLE prices ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON prices TO {APPLICATION_ROLE};
CREATE POLICY tenant ON prices FOR SELECT TO {APPLICATION_ROLE}
    USING (tenant_id IS NULL OR tenant_id = {CURRENT_TENANT})
"""

_GONE = 'EXISTS (SELECT FROM tenants t WHERE t.id = tenant_id AND t.deleted_at IS NOT NULL)'
# what nobody takes away goes with a tenant that is erased
_ERASED = f"""
GRANT SELECT (tenant_id, number), DELETE ON ledger_entries TO {SYSTEM_ROLE};
CREATE POLICY erased ON ledger_entries TO {SYSTEM_ROLE} USING ({_GONE});
CREATE POLICY erased ON prices AS RESTRICTIVE FOR DELETE TO {SYSTEM_ROLE} USING ({_GONE})
"""


def upgrade() -> None:
    op.create_table('credit_accounts',
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('available', sa.BigInteger(), nullable=False),
sa.Column('held', sa.BigInteger(), nullable=False),
sa.Column('spent', sa.BigInteger(), nullable=False),
sa.Column('outside', sa.BigInteger(), nullable=False),
sa.Column('number', sa.BigInteger(), nullable=False),
sa.Column('warn_below', sa.BigInteger(), nullable=True),
sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
sa.CheckConstraint('available + held + spent + outside = 0', name=op.f('ck_credit_accounts_sums_to_zero')),
sa.CheckConstraint('available >= 0 AND held >= 0', name=op.f('ck_credit_accounts_never_below_zero')),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_credit_accounts_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('tenant_id', name=op.f('pk_credit_accounts'))
)
    op.create_table('ledger_entries',
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('number', sa.BigInteger(), nullable=False),
sa.Column('id', sa.Uuid(), nullable=False),
sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
sa.Column('available', sa.BigInteger(), nullable=False),
sa.Column('held', sa.BigInteger(), nullable=False),
sa.Column('spent', sa.BigInteger(), nullable=False),
sa.Column('outside', sa.BigInteger(), nullable=False),
sa.Column('unpaid', sa.BigInteger(), nullable=False),
sa.Column('balance_after', sa.BigInteger(), nullable=False),
sa.Column('grant_id', sa.Uuid(), nullable=True),
sa.Column('hold_id', sa.Uuid(), nullable=True),
sa.Column('execution_id', sa.Uuid(), nullable=True),
sa.Column('lineage', sa.Integer(), nullable=True),
sa.Column('step_index', sa.Integer(), nullable=True),
sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True),
sa.Column('occurrence', sa.Integer(), nullable=True),
sa.Column('attempt', sa.Integer(), nullable=True),
sa.Column('workflow_id', sa.Uuid(), nullable=True),
sa.Column('api_key_id', sa.Uuid(), nullable=True),
sa.Column('root_id', sa.Uuid(), nullable=True),
sa.Column('usage_type', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=True),
sa.Column('resource', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
sa.Column('agent', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
sa.Column('input_tokens', sa.Integer(), nullable=True),
sa.Column('cached_tokens', sa.Integer(), nullable=True),
sa.Column('output_tokens', sa.Integer(), nullable=True),
sa.Column('price_id', sa.Uuid(), nullable=True),
sa.Column('source', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=True),
sa.Column('reference', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
sa.Column('user_id', sa.Uuid(), nullable=True),
sa.Column('description', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
sa.Column('metadata', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
sa.CheckConstraint("kind = ANY ('{grant,reserve,settle,release,expire,refund,adjust}'::text[])", name=op.f('ck_ledger_entries_valid_kind')),
sa.CheckConstraint("source = ANY ('{purchase,plan,gift,manual,refund,dispute}'::text[])", name=op.f('ck_ledger_entries_valid_source')),
sa.CheckConstraint("usage_type = ANY ('{model,tool,step,storage}'::text[])", name=op.f('ck_ledger_entries_valid_usage_type')),
sa.CheckConstraint('available + held + spent + outside = 0', name=op.f('ck_ledger_entries_sums_to_zero')),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_ledger_entries_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('tenant_id', 'number', name=op.f('pk_ledger_entries')),
sa.UniqueConstraint('tenant_id', 'idempotency_key', name=op.f('uq_ledger_entries_tenant_id_idempotency_key'))
)
    op.create_index('ix_ledger_entries_execution', 'ledger_entries', ['execution_id'], unique=False, postgresql_where=sa.text("kind = 'settle'"))
    op.create_index('ix_ledger_entries_moved', 'ledger_entries', ['tenant_id', 'number'], unique=False, postgresql_where=sa.text("kind NOT IN ('reserve', 'release', 'settle')"))
    op.create_index('ix_ledger_entries_time', 'ledger_entries', ['tenant_id', 'created_at'], unique=False, postgresql_where=sa.text("spent <> 0 OR kind = 'settle'"))
    op.create_table('credit_grants',
sa.Column('id', sa.Uuid(), nullable=False),
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('source', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
sa.Column('reference', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
sa.Column('priority', sa.Integer(), nullable=False),
sa.Column('amount', sa.BigInteger(), nullable=False),
sa.Column('remaining', sa.BigInteger(), nullable=False),
sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
sa.Column('is_left', sa.Boolean(), sa.Computed('remaining > 0', persisted=True), nullable=False),
sa.CheckConstraint("source = ANY ('{purchase,plan,gift,manual,refund,dispute}'::text[])", name=op.f('ck_credit_grants_valid_source')),
sa.CheckConstraint('remaining >= 0 AND remaining <= amount AND amount > 0', name=op.f('ck_credit_grants_valid_amounts')),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_credit_grants_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('id', name=op.f('pk_credit_grants'))
)
    op.create_index('ix_credit_grants_left', 'credit_grants', ['tenant_id'], unique=False, postgresql_where=sa.text('is_left'))
    op.create_index('ix_credit_grants_reference', 'credit_grants', ['tenant_id', 'reference'], unique=False)
    op.create_table('credit_holds',
sa.Column('id', sa.Uuid(), nullable=False),
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('execution_id', sa.Uuid(), nullable=False),
sa.Column('lineage', sa.Integer(), nullable=False),
sa.Column('step_index', sa.Integer(), nullable=False),
sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
sa.Column('occurrence', sa.Integer(), nullable=False),
sa.Column('attempt', sa.Integer(), nullable=False),
sa.Column('amount', sa.BigInteger(), nullable=False),
sa.Column('budgeted', sa.BigInteger(), nullable=False),
sa.Column('budgets', postgresql.ARRAY(sa.UUID()), nullable=False),
sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_credit_holds_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('id', name=op.f('pk_credit_holds')),
sa.UniqueConstraint('execution_id', 'lineage', 'step_index', 'request_hash', 'occurrence', name=op.f('uq_credit_holds_execution_id_lineage_step_index_request_hash_occurrence'))
)
    op.create_index(op.f('ix_credit_holds_tenant_id'), 'credit_holds', ['tenant_id'], unique=False)
    op.create_table('budgets',
sa.Column('id', sa.Uuid(), nullable=False),
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('scope', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
sa.Column('scope_id', sa.Uuid(), nullable=True),
sa.Column('period', sqlmodel.sql.sqltypes.AutoString(length=10), nullable=False),
sa.Column('amount', sa.BigInteger(), nullable=False),
sa.Column('spent', sa.BigInteger(), nullable=False),
sa.Column('held', sa.BigInteger(), nullable=False),
sa.Column('period_start', sa.Date(), nullable=False),
sa.Column('thresholds', postgresql.ARRAY(sa.Integer()), nullable=False),
sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True),
sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
sa.CheckConstraint("(scope = 'tenant') = (scope_id IS NULL)", name=op.f('ck_budgets_scope_with_id')),
sa.CheckConstraint("period = ANY ('{total,month}'::text[])", name=op.f('ck_budgets_valid_period')),
sa.CheckConstraint("scope = ANY ('{tenant,workflow,api_key,execution}'::text[])", name=op.f('ck_budgets_valid_scope')),
sa.CheckConstraint('amount >= 0 AND held >= 0', name=op.f('ck_budgets_valid_amounts')),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_budgets_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('id', name=op.f('pk_budgets')),
sa.UniqueConstraint('tenant_id', 'idempotency_key', name=op.f('uq_budgets_tenant_id_idempotency_key')),
sa.UniqueConstraint('tenant_id', 'scope', 'scope_id', 'period', name=op.f('uq_budgets_tenant_id_scope_scope_id_period'), postgresql_nulls_not_distinct=True)
)
    op.create_table('parked_runs',
sa.Column('execution_id', sa.Uuid(), nullable=False),
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
sa.Column('required', sa.BigInteger(), nullable=False),
sa.Column('budget_id', sa.Uuid(), nullable=True),
sa.Column('times', sa.Integer(), nullable=False),
sa.Column('parked_at', sa.DateTime(timezone=True), nullable=False),
sa.Column('woken_at', sa.DateTime(timezone=True), nullable=True),
sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_parked_runs_execution_id'), ondelete='CASCADE'),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_parked_runs_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('execution_id', name=op.f('pk_parked_runs'))
)
    op.create_index(op.f('ix_parked_runs_tenant_id'), 'parked_runs', ['tenant_id'], unique=False)
    op.create_table('billing_notices',
sa.Column('id', sa.Uuid(), nullable=False),
sa.Column('tenant_id', sa.Uuid(), nullable=False),
sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
sa.Column('dedup_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
sa.Column('data', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
sa.Column('mail_at', sa.DateTime(timezone=True), nullable=True),
sa.Column('mail_attempts', sa.Integer(), server_default='0', nullable=False),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_billing_notices_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('id', name=op.f('pk_billing_notices')),
sa.UniqueConstraint('tenant_id', 'dedup_key', name=op.f('uq_billing_notices_tenant_id_dedup_key'))
)
    op.create_index('ix_billing_notices_unsent', 'billing_notices', ['id'], unique=False, postgresql_where=sa.text('sent_at IS NULL'))
    op.create_index('ix_billing_notices_mail', 'billing_notices', ['mail_at'], unique=False, postgresql_where=sa.text('mail_at IS NOT NULL'))
    op.create_table('prices',
sa.Column('id', sa.Uuid(), nullable=False),
sa.Column('tenant_id', sa.Uuid(), nullable=True),
sa.Column('number', sa.BigInteger(), sa.Identity(always=True), nullable=False),
sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
sa.Column('input_per_1m', sa.Numeric(precision=20, scale=6), nullable=False),
sa.Column('cached_per_1m', sa.Numeric(precision=20, scale=6), nullable=True),
sa.Column('output_per_1m', sa.Numeric(precision=20, scale=6), nullable=False),
sa.Column('per_call', sa.Numeric(precision=20, scale=6), nullable=False),
sa.Column('max_output_tokens', sa.Integer(), nullable=True),
sa.Column('effective_from', sa.DateTime(timezone=True), nullable=False),
sa.Column('withdrawn', sa.Boolean(), nullable=False),
sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
sa.CheckConstraint("kind = ANY ('{model,tool,step,storage}'::text[])", name=op.f('ck_prices_valid_kind')),
sa.CheckConstraint('input_per_1m >= 0 AND cached_per_1m >= 0 AND output_per_1m >= 0 AND per_call >= 0', name=op.f('ck_prices_not_negative')),
sa.CheckConstraint('max_output_tokens > 0', name=op.f('ck_prices_valid_limit')),
sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_prices_tenant_id'), ondelete='CASCADE'),
sa.PrimaryKeyConstraint('id', name=op.f('pk_prices')),
sa.UniqueConstraint('number', name=op.f('uq_prices_number'))
)
    op.create_index(op.f('ix_prices_tenant_id'), 'prices', ['tenant_id'], unique=False)
    op.create_index('ix_prices_what', 'prices', ['kind', 'name'], unique=False)
    op.add_column('executions', sa.Column('root_id', sa.Uuid(), nullable=True))
    op.add_column('executions', sa.Column('api_key_id', sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f('fk_executions_api_key_id'), 'executions', 'api_keys', ['api_key_id'], ['id'], ondelete='SET NULL')
    # of those that are there nobody knows who has used them since: as a rule, the attempt that did the step
    op.add_column('call_journal', sa.Column('used_by', sa.Integer(), nullable=False, server_default='1'))
    op.alter_column('call_journal', 'used_by', server_default=None)
    op.execute(
        'UPDATE call_journal j SET used_by = a.attempt FROM agents a '
        'WHERE a.execution_id = j.execution_id AND a.lineage = j.lineage AND a.step_index = j.step_index AND a.attempt > 1'
    )
    isolate('ledger_entries', privileges='SELECT, INSERT')
    for table in _TABLES:
        isolate(table)
    open_to_system('prices', 'SELECT', 'INSERT', 'DELETE')
    for statement in (*_PRICES.split(';'), *_ERASED.split(';')):
        op.execute(statement)
    open_to_system('credit_accounts', 'SELECT (tenant_id, available, held, warn_below)')
    open_to_system('credit_grants', 'SELECT (tenant_id, is_left, expires_at)')
    open_to_system('credit_holds', 'SELECT (tenant_id, created_at)')
    open_to_system('parked_runs', 'SELECT')
    open_to_system('billing_notices', 'SELECT (id, tenant_id, sent_at, mail_at)')
    open_to_system('budgets', 'SELECT (id, tenant_id, period, amount, spent, held, period_start)')
    for statement in (*FUNCTIONS, *VIEWS):
        op.execute(statement)
    for view in ('transactions', 'credit_usage'):
        op.execute(f'GRANT SELECT ON {view} TO {APPLICATION_ROLE}')


def downgrade() -> None:
    for view in ('credit_usage', 'transactions'):
        op.execute(f'DROP VIEW {view}')
    for statement in DROPS:
        op.execute(statement)
    op.drop_constraint(op.f('fk_executions_api_key_id'), 'executions', type_='foreignkey')
    op.drop_column('call_journal', 'used_by')
    op.drop_column('executions', 'api_key_id')
    op.drop_column('executions', 'root_id')
    for table in (*_TABLES, 'ledger_entries', 'prices'):
        op.drop_table(table)
