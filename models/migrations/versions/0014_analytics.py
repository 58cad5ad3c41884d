"""Metrics of executions and agents, and their roll-ups

Revision: 0014, after: 0013
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.migrations.isolation import isolate, open_to_system
from models.migrations.metrics_functions import HELPERS, MEASURE, UNROLL

revision: str = '0014'
down_revision: str | None = '0013'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ('execution_metrics', 'agent_metrics', 'execution_rollups', 'duration_rollups', 'step_rollups', 'cost_rollups', 'rollup_marks')

# what runs and steps are, as analytics count them: the roll-ups are sums of these, and so is what is not rolled up yet
_FACTS = """
CREATE VIEW execution_facts WITH (security_invoker = true) AS
SELECT m.id, m.tenant_id, m.rolled, m.created_at AS at, m.workflow_id, m.framework, coalesce(m.llm_model, now.llm_model, '') AS llm_model, m.status,
       CASE WHEN m.status = 'failed' THEN coalesce(m.failure_type, '') ELSE '' END AS failure_type,
       1 AS executions,
       CASE WHEN m.status IN ('completed', 'failed') THEN 1 ELSE 0 END AS timed,
       CASE WHEN m.status IN ('completed', 'failed') THEN m.total_duration_ms ELSE 0 END AS duration_ms,
       CASE WHEN m.status IN ('completed', 'failed')
            THEN floor(ln(greatest(m.total_duration_ms, 1)::float8) / ln(1.02::float8))::int END AS bucket,
       coalesce(now.checkpoints, m.checkpoint_count) AS checkpoints,
       coalesce(now.checkpoint_bytes, m.checkpoint_bytes) AS checkpoint_bytes,
       coalesce(now.llm_calls, m.total_llm_calls) AS llm_calls, coalesce(now.tool_calls, m.total_tool_calls) AS tool_calls,
       coalesce(now.tokens, m.total_tokens) AS tokens, coalesce(now.cost_micro, m.cost_micro) AS cost_micro,
       m.rollback_count AS rollbacks, m.failure_count AS failures, m.retry_count AS retries
FROM execution_metrics m
-- the row of a run that is under way is as old as its status
LEFT JOIN LATERAL (
    SELECT count(a.checkpoint_bytes) AS checkpoints, coalesce(sum(a.checkpoint_bytes), 0)::bigint AS checkpoint_bytes,
           coalesce(sum(a.llm_calls), 0)::bigint AS llm_calls, coalesce(sum(a.tool_calls), 0)::bigint AS tool_calls,
           coalesce(sum(a.tokens_used), 0)::bigint AS tokens, coalesce(sum(a.cost_micro), 0)::bigint AS cost_micro,
           (SELECT b.llm_model FROM agent_metrics b WHERE b.execution_id = m.execution_id AND b.llm_model IS NOT NULL
            GROUP BY b.llm_model ORDER BY sum(b.llm_calls) DESC, b.llm_model LIMIT 1) AS llm_model
    FROM agent_metrics a WHERE a.execution_id = m.execution_id
    -- so that nothing is looked for where a run has ended
    HAVING m.status NOT IN ('completed', 'failed', 'cancelled')
) AS now ON true;

CREATE VIEW step_facts WITH (security_invoker = true) AS
SELECT id, tenant_id, rolled, measured_at AS at, workflow_id, framework,
       1 AS steps, CASE WHEN status = 'completed' THEN 0 ELSE 1 END AS failed, duration_ms,
       CASE WHEN checkpoint_bytes IS NULL THEN 0 ELSE 1 END AS checkpoints,
       coalesce(checkpoint_bytes, 0) AS checkpoint_bytes,
       llm_calls, tool_calls, tokens_used AS tokens, cost_micro
FROM agent_metrics;

CREATE VIEW cost_facts WITH (security_invoker = true) AS
SELECT tenant_id, number, created_at AS at,
       coalesce(workflow_id, '00000000-0000-0000-0000-000000000000') AS workflow_id, coalesce(usage_type, '') AS usage_type,
       coalesce(resource, '') AS resource, coalesce(agent, '') AS agent,
       CASE WHEN kind = 'settle' THEN 1 ELSE 0 END AS charges, coalesce(input_tokens, 0) AS input_tokens,
       coalesce(cached_tokens, 0) AS cached_tokens, coalesce(output_tokens, 0) AS output_tokens, spent AS cost_micro
FROM ledger_entries WHERE spent <> 0 OR kind = 'settle';

GRANT SELECT ON execution_facts, step_facts, cost_facts TO omium_app
"""

# runs of before: what can still be told of them
_BACKFILL = """
INSERT INTO agent_metrics (id, tenant_id, agent_id, execution_id, workflow_id, framework, status, duration_ms, llm_provider,
                           llm_model, llm_calls, tokens_used, cost_micro, tool_calls, checkpoint_bytes, measured_at)
SELECT gen_random_uuid(), a.tenant_id, a.id, a.execution_id, e.workflow_id, a.framework,
       CASE WHEN c.id IS NULL THEN a.status ELSE 'completed' END, duration_ms(a.started_at, a.completed_at),
       provider_of(calls.model), calls.model, calls.llm_calls, calls.tokens, calls.cost, calls.tool_calls,
       c.state_size_bytes, a.completed_at
FROM agents a
JOIN executions e ON e.id = a.execution_id
LEFT JOIN checkpoints c ON c.execution_id = a.execution_id AND c.lineage = a.lineage AND c.step_index = a.step_index AND c.kind = 'step'
CROSS JOIN LATERAL calls_of(a.execution_id, a.lineage, a.step_index) calls
WHERE a.completed_at IS NOT NULL AND a.status <> 'skipped';
INSERT INTO execution_metrics (id, tenant_id, execution_id, workflow_id, framework, llm_model, status, failure_type,
                               total_duration_ms, total_llm_calls, total_tool_calls, total_tokens, cost_micro,
                               checkpoint_count, checkpoint_bytes, rollback_count, failure_count, retry_count, created_at,
                               measured_at)
SELECT gen_random_uuid(), e.tenant_id, e.id, e.workflow_id, e.framework, used.llm_model, e.status, failed.type,
       duration_ms(e.started_at, coalesce(e.completed_at, e.updated_at)), used.llm_calls, used.tool_calls, used.tokens,
       used.cost_micro, used.checkpoints, used.checkpoint_bytes, e.lineage, failed.times, e.retry_count, e.created_at, e.updated_at
FROM executions e
CROSS JOIN LATERAL steps_of(e.id) used
CROSS JOIN LATERAL (
    SELECT count(*) AS times, (array_agg(failure_type ORDER BY id DESC))[1] AS type FROM failures WHERE execution_id = e.id
) failed
"""


def _count(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), server_default=sa.text('0'), nullable=False) for name in names]


def _dollars(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Numeric(18, 4), sa.Computed('cost_micro / 100000000.0', persisted=True), nullable=True)


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _id(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Uuid(), nullable=False)


def _rolled() -> sa.Column[bool]:
    return sa.Column('rolled', sa.Boolean(), server_default=sa.text('false'), nullable=False)


def _of(table: str, target: str = 'tenants', column: str = 'tenant_id') -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f'{target}.id'], name=op.f(f'fk_{table}_{column}'), ondelete='CASCADE')


def _table(name: str, key: Sequence[str], *columns: sa.SchemaItem) -> None:
    op.create_table(name, _id('tenant_id'), *columns, _of(name), sa.PrimaryKeyConstraint(*key, name=op.f(f'pk_{name}')))


def upgrade() -> None:
    _table(
        'execution_metrics', ['id'],
        _id('id'), _id('execution_id'), _id('workflow_id'), _text('framework', 50), _text('llm_model', 255, nullable=True),
        _text('status', 50), _text('failure_type', 100, nullable=True),
        *_count('total_duration_ms'), sa.Column('checkpoint_overhead_us', sa.BigInteger(), nullable=True),
        sa.Column('checkpoint_overhead_ms', sa.BigInteger(), sa.Computed('checkpoint_overhead_us / 1000', persisted=True), nullable=True),
        sa.Column('consensus_overhead_ms', sa.BigInteger(), nullable=True),
        *_count('total_llm_calls', 'total_tool_calls', 'total_tokens', 'cost_micro'), _dollars('total_cost_usd'),
        *_count('checkpoint_count', 'checkpoint_bytes', 'rollback_count', 'failure_count', 'retry_count'),
        _rolled(), _time('created_at'), _time('measured_at'),
        _of('execution_metrics', 'executions', 'execution_id'),
        sa.UniqueConstraint('execution_id', name=op.f('uq_execution_metrics_execution_id')),
    )
    op.create_index('ix_execution_metrics_time', 'execution_metrics', ['tenant_id', 'created_at'])
    op.create_index('ix_execution_metrics_not_rolled', 'execution_metrics', ['tenant_id', 'created_at'], postgresql_where=sa.text('NOT rolled'))
    op.create_index('ix_execution_metrics_measured_at', 'execution_metrics', ['measured_at'])
    _table(
        'agent_metrics', ['id'],
        _id('id'), _id('agent_id'), _id('execution_id'), _id('workflow_id'), _text('framework', 50), _text('status', 50),
        *_count('duration_ms'), sa.Column('wait_time_ms', sa.BigInteger(), nullable=True),
        _text('llm_provider', 50, nullable=True), _text('llm_model', 255, nullable=True),
        *_count('llm_calls', 'tokens_used', 'cost_micro'), _dollars('cost_usd'), *_count('tool_calls'),
        sa.Column('tool_failures', sa.Integer(), nullable=True), sa.Column('checkpoint_bytes', sa.BigInteger(), nullable=True),
        sa.Column('checkpoint_overhead_us', sa.BigInteger(), nullable=True), _rolled(), _time('measured_at'),
        _of('agent_metrics', 'agents', 'agent_id'), _of('agent_metrics', 'executions', 'execution_id'),
        sa.UniqueConstraint('agent_id', name=op.f('uq_agent_metrics_agent_id')),
    )
    op.create_index(op.f('ix_agent_metrics_execution_id'), 'agent_metrics', ['execution_id'])
    # a new row is in one of these two, and every step pays for its indexes
    op.create_index('ix_agent_metrics_rolled', 'agent_metrics', ['tenant_id', 'measured_at'], postgresql_where=sa.text('rolled'))
    op.create_index('ix_agent_metrics_not_rolled', 'agent_metrics', ['tenant_id', 'measured_at'], postgresql_where=sa.text('NOT rolled'))

    op.drop_index('ix_failures_tenant_id', 'failures')
    op.create_index('ix_failures_time', 'failures', ['tenant_id', 'created_at'])

    kind = ('workflow_id', 'framework', 'llm_model', 'status')
    _table(
        'execution_rollups', ['tenant_id', 'size', 'at', *kind, 'failure_type'],
        _text('size', 13), _time('at'), _id('workflow_id'), _text('framework', 50), _text('llm_model', 255), _text('status', 50), _text('failure_type', 100),
        *_count('executions', 'timed', 'duration_ms', 'checkpoints', 'checkpoint_bytes', 'llm_calls', 'tool_calls', 'tokens', 'cost_micro',
                'rollbacks', 'failures', 'retries'),
    )
    _table(
        'duration_rollups', ['tenant_id', 'workflow_id', 'day', 'framework', 'llm_model', 'status', 'bucket'],
        _id('workflow_id'), _time('day'), _text('framework', 50), _text('llm_model', 255), _text('status', 50),
        sa.Column('bucket', sa.Integer(), nullable=False), *_count('executions'),
    )
    _table(
        'step_rollups', ['tenant_id', 'size', 'at', 'workflow_id', 'framework'],
        _text('size', 13), _time('at'), _id('workflow_id'), _text('framework', 50),
        *_count('steps', 'failed', 'duration_ms', 'checkpoints', 'checkpoint_bytes', 'llm_calls', 'tool_calls', 'tokens', 'cost_micro'),
    )
    _table(
        'cost_rollups', ['tenant_id', 'size', 'at', 'workflow_id', 'usage_type', 'resource', 'agent'],
        _text('size', 13), _time('at'), _id('workflow_id'), _text('usage_type', 20), _text('resource', 255), _text('agent', 255),
        *_count('charges', 'input_tokens', 'cached_tokens', 'output_tokens', 'cost_micro'),
    )
    _table('rollup_marks', ['tenant_id'], *_count('ledger_number'))
    _table('api_usage_hours', ['tenant_id', 'hour'], _time('hour'), *_count('calls'))
    for table in _TABLES:
        isolate(table)
    isolate('api_usage_hours', privileges='SELECT, DELETE')
    # one statement writes what a process counted for all tenants
    open_to_system('api_usage_hours', 'SELECT', 'INSERT', 'UPDATE')
    # whose rows are to be rolled up
    open_to_system('execution_metrics', 'SELECT (tenant_id, status, rolled)')
    open_to_system('agent_metrics', 'SELECT (tenant_id, rolled)')
    for statements in (HELPERS, _FACTS, _BACKFILL, MEASURE, UNROLL):
        # the driver takes one at a time; those inside of functions are indented
        for statement in re.split(r';\n+(?=CREATE|INSERT|GRANT|--)', statements):
            op.execute(statement)


def downgrade() -> None:
    op.execute('DROP TRIGGER measure_late_call ON call_journal')
    op.execute('DROP TRIGGER measure_failure ON failures')
    op.drop_index('ix_failures_time', 'failures')
    op.create_index('ix_failures_tenant_id', 'failures', ['tenant_id'])
    op.execute('DROP TRIGGER measure_execution_changed ON executions')
    op.execute('DROP TRIGGER measure_execution_made ON executions')
    op.execute('DROP VIEW execution_facts, step_facts, cost_facts')
    for table in ('api_usage_hours', *reversed(_TABLES)):
        op.drop_table(table)
    op.execute(
        'DROP FUNCTION measure_late_call(), measure_failure(), measure_execution(), measure_broken_off(executions), unroll_execution(), unroll_step(), '
        'rollups_at(timestamptz), measuring(uuid), calls_of(uuid, int, int), steps_of(uuid), provider_of(text), duration_ms(timestamptz, timestamptz)'
    )
