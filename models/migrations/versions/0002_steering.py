"""Steering: lineages, rollbacks, effects, approvals, consensus, policies

Revision: 0002, after: 0001
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0002'
down_revision: str | None = '0001'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _replace_check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f'ck_{table}_{name}'), table, type_='check')
    op.create_check_constraint(op.f(f'ck_{table}_{name}'), table, condition)


def upgrade() -> None:
    op.create_table('execution_policies',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('workflow_id', sa.Uuid(), nullable=True),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('description', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('policy_type', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('policy_config', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('is_active', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("policy_type IN ('timeout', 'retry', 'recovery', 'rollback', 'notification')", name=op.f('ck_execution_policies_valid_policy_type')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_execution_policies_tenant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workflow_id'], ['workflows.id'], name=op.f('fk_execution_policies_workflow_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_execution_policies'))
    )
    op.create_index(op.f('ix_execution_policies_tenant_id'), 'execution_policies', ['tenant_id'], unique=False)
    op.create_index(op.f('ix_execution_policies_workflow_id'), 'execution_policies', ['workflow_id'], unique=False)
    op.create_table('execution_policy_versions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('policy_id', sa.Uuid(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('policy_config', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('is_active', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['policy_id'], ['execution_policies.id'], name=op.f('fk_execution_policy_versions_policy_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_execution_policy_versions_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_execution_policy_versions')),
    sa.UniqueConstraint('policy_id', 'version', name=op.f('uq_execution_policy_versions_policy_id_version'))
    )
    op.create_index(op.f('ix_execution_policy_versions_tenant_id'), 'execution_policy_versions', ['tenant_id'], unique=False)
    op.create_table('approvals',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('lineage', sa.Integer(), nullable=False),
    sa.Column('step_index', sa.Integer(), nullable=False),
    sa.Column('step_name', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('interrupt_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('title', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('question', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('question_blob', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True),
    sa.Column('assignee', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('deadline', sa.DateTime(timezone=True), nullable=True),
    sa.Column('default_decision', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=True),
    sa.Column('default_value', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('answer', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('answer_blob', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True),
    sa.Column('comment', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('answered_by', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('answered_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('pending', 'approved', 'rejected', 'edited', 'expired', 'cancelled')", name=op.f('ck_approvals_valid_status')),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_approvals_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_approvals_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_approvals')),
    sa.UniqueConstraint('execution_id', 'lineage', 'step_index', 'interrupt_id', name=op.f('uq_approvals_execution_id_lineage_step_index_interrupt_id'))
    )
    op.create_index(op.f('ix_approvals_assignee'), 'approvals', ['assignee'], unique=False)
    op.create_index(op.f('ix_approvals_execution_id'), 'approvals', ['execution_id'], unique=False)
    op.create_index(op.f('ix_approvals_status'), 'approvals', ['status'], unique=False)
    op.create_index(op.f('ix_approvals_tenant_id'), 'approvals', ['tenant_id'], unique=False)
    op.create_table('consensus_logs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('lineage', sa.Integer(), nullable=False),
    sa.Column('step_index', sa.Integer(), nullable=False),
    sa.Column('term', sa.Integer(), nullable=False),
    sa.Column('log_index', sa.Integer(), nullable=False),
    sa.Column('leader', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('sender', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('receivers', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('sender_agent_id', sa.Uuid(), nullable=True),
    sa.Column('receiver_agent_id', sa.Uuid(), nullable=True),
    sa.Column('message_type', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('message', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('payload_hash', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('voters', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('consensus_reached', sa.Boolean(), nullable=False),
    sa.Column('acks_received', sa.Integer(), nullable=False),
    sa.Column('acks_required', sa.Integer(), nullable=False),
    sa.Column('deadline', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('committed_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("message_type IN ('handoff', 'state_update', 'completion', 'failure')", name=op.f('ck_consensus_logs_valid_type')),
    sa.CheckConstraint("status IN ('open', 'committed', 'rejected', 'failed', 'cancelled')", name=op.f('ck_consensus_logs_valid_status')),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_consensus_logs_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['receiver_agent_id'], ['agents.id'], name=op.f('fk_consensus_logs_receiver_agent_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['sender_agent_id'], ['agents.id'], name=op.f('fk_consensus_logs_sender_agent_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_consensus_logs_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_consensus_logs')),
    sa.UniqueConstraint('execution_id', 'log_index', name=op.f('uq_consensus_logs_execution_id_log_index'))
    )
    op.create_index(op.f('ix_consensus_logs_tenant_id'), 'consensus_logs', ['tenant_id'], unique=False)
    op.create_table('consensus_acks',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('consensus_log_id', sa.Uuid(), nullable=False),
    sa.Column('voter', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('agent_id', sa.Uuid(), nullable=True),
    sa.Column('term', sa.Integer(), nullable=False),
    sa.Column('valid', sa.Boolean(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('ack_received_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['agent_id'], ['agents.id'], name=op.f('fk_consensus_acks_agent_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['consensus_log_id'], ['consensus_logs.id'], name=op.f('fk_consensus_acks_consensus_log_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_consensus_acks_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_consensus_acks')),
    sa.UniqueConstraint('consensus_log_id', 'term', 'voter', name=op.f('uq_consensus_acks_consensus_log_id_term_voter'))
    )
    op.create_index(op.f('ix_consensus_acks_tenant_id'), 'consensus_acks', ['tenant_id'], unique=False)
    op.create_table('lineages',
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('lineage', sa.Integer(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('parent_lineage', sa.Integer(), nullable=True),
    sa.Column('parent_number', sa.Integer(), nullable=False),
    sa.Column('checkpoint_id', sa.Uuid(), nullable=True),
    sa.Column('rollback_id', sa.Uuid(), nullable=True),
    sa.Column('definition_blob', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=True),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['checkpoint_id'], ['checkpoints.id'], name=op.f('fk_lineages_checkpoint_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_lineages_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_lineages_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('execution_id', 'lineage', name=op.f('pk_lineages'))
    )
    op.create_index(op.f('ix_lineages_tenant_id'), 'lineages', ['tenant_id'], unique=False)
    op.create_table('rollbacks',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('command_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('from_checkpoint_id', sa.Uuid(), nullable=True),
    sa.Column('to_checkpoint_id', sa.Uuid(), nullable=False),
    sa.Column('from_lineage', sa.Integer(), nullable=False),
    sa.Column('to_lineage', sa.Integer(), nullable=False),
    sa.Column('triggered_by', sa.Uuid(), nullable=True),
    sa.Column('trigger_reason', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('trigger_type', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('rollback_success', sa.Boolean(), nullable=True),
    sa.Column('error', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('affected_agents', postgresql.ARRAY(sa.Uuid()), nullable=False),
    sa.Column('edits', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('metadata', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('in_progress', 'completed', 'failed')", name=op.f('ck_rollbacks_valid_status')),
    sa.CheckConstraint("trigger_type IN ('manual', 'automatic', 'policy')", name=op.f('ck_rollbacks_valid_trigger')),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_rollbacks_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['from_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_rollbacks_from_checkpoint_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_rollbacks_tenant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['to_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_rollbacks_to_checkpoint_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['triggered_by'], ['users.id'], name=op.f('fk_rollbacks_triggered_by'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rollbacks')),
    sa.UniqueConstraint('execution_id', 'command_id', name=op.f('uq_rollbacks_execution_id_command_id'))
    )
    op.create_index(op.f('ix_rollbacks_tenant_id'), 'rollbacks', ['tenant_id'], unique=False)
    op.create_table('effects',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('lineage', sa.Integer(), nullable=False),
    sa.Column('step_index', sa.Integer(), nullable=False),
    sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('tool', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('arguments', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('result', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('reversible', sa.Boolean(), nullable=False),
    sa.Column('inverse', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('error', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('rollback_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('undone_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('pending', 'done', 'failed', 'undoing', 'undone', 'kept')", name=op.f('ck_effects_valid_status')),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_effects_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['rollback_id'], ['rollbacks.id'], name=op.f('fk_effects_rollback_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_effects_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_effects')),
    sa.UniqueConstraint('execution_id', 'idempotency_key', name=op.f('uq_effects_execution_id_idempotency_key'))
    )
    op.create_index('ix_effects_execution_id_status', 'effects', ['execution_id', 'status'], unique=False)
    op.create_index(op.f('ix_effects_tenant_id'), 'effects', ['tenant_id'], unique=False)
    op.create_table('recovery_actions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tenant_id', sa.Uuid(), nullable=False),
    sa.Column('failure_id', sa.Uuid(), nullable=False),
    sa.Column('execution_id', sa.Uuid(), nullable=False),
    sa.Column('command_id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('action_type', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('action_config', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('triggered_by', sa.Uuid(), nullable=True),
    sa.Column('trigger_type', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('triggered_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=50), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('success', sa.Boolean(), nullable=True),
    sa.Column('error', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('metadata', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.CheckConstraint("action_type IN ('rollback', 'retry', 'prompt_edit', 'manual_intervention', 'escalate', 'model_fallback')", name=op.f('ck_recovery_actions_valid_action_type')),
    sa.CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')", name=op.f('ck_recovery_actions_valid_status')),
    sa.ForeignKeyConstraint(['execution_id'], ['executions.id'], name=op.f('fk_recovery_actions_execution_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['failure_id'], ['failures.id'], name=op.f('fk_recovery_actions_failure_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_recovery_actions_tenant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['triggered_by'], ['users.id'], name=op.f('fk_recovery_actions_triggered_by'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_recovery_actions')),
    sa.UniqueConstraint('execution_id', 'command_id', name=op.f('uq_recovery_actions_execution_id_command_id'))
    )
    op.create_index(op.f('ix_recovery_actions_failure_id'), 'recovery_actions', ['failure_id'], unique=False)
    op.create_index(op.f('ix_recovery_actions_tenant_id'), 'recovery_actions', ['tenant_id'], unique=False)
    op.add_column('agents', sa.Column('branch', sqlmodel.sql.sqltypes.AutoString(length=255), server_default='', nullable=False))
    op.add_column('checkpoints', sa.Column('agent_id', sa.Uuid(), nullable=True))
    op.add_column('checkpoints', sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=10), server_default='step', nullable=False))
    op.add_column('checkpoints', sa.Column('branch', sqlmodel.sql.sqltypes.AutoString(length=255), server_default='', nullable=False))
    op.add_column('checkpoints', sa.Column('preconditions', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True))
    op.add_column('checkpoints', sa.Column('postconditions', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True))
    op.add_column('checkpoints', sa.Column('validation_passed', sa.Boolean(), server_default=sa.text('true'), nullable=False))
    op.add_column('checkpoints', sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f('uq_checkpoints_execution_id_checkpoint_number'), 'checkpoints', type_='unique')
    op.drop_constraint(op.f('uq_checkpoints_execution_id_lineage_step_index'), 'checkpoints', type_='unique')
    op.create_index('ix_checkpoints_execution_id_lineage', 'checkpoints', ['execution_id', 'lineage', 'checkpoint_number'], unique=False)
    op.create_index('uq_checkpoints_given_name', 'checkpoints', ['execution_id', 'checkpoint_name'], unique=True, postgresql_where=sa.text("kind = 'named' AND deleted_at IS NULL"))
    op.create_index('uq_checkpoints_step', 'checkpoints', ['execution_id', 'lineage', 'step_index'], unique=True, postgresql_where=sa.text("kind = 'step'"))
    op.create_foreign_key(op.f('fk_checkpoints_agent_id'), 'checkpoints', 'agents', ['agent_id'], ['id'], ondelete='SET NULL')
    op.add_column('executions', sa.Column('flow', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True))
    op.add_column('executions', sa.Column('policy', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True))
    op.add_column('executions', sa.Column('forked_from', sa.Uuid(), nullable=True))
    op.add_column('executions', sa.Column('forked_from_checkpoint', sa.Uuid(), nullable=True))
    op.add_column('executions', sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(op.f('fk_executions_forked_from'), 'executions', 'executions', ['forked_from'], ['id'], ondelete='SET NULL')
    op.add_column('failures', sa.Column('agent_id', sa.Uuid(), nullable=True))
    op.add_column('failures', sa.Column('checkpoint_id', sa.Uuid(), nullable=True))
    op.add_column('failures', sa.Column('recovery_action', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True))
    op.create_foreign_key(op.f('fk_failures_checkpoint_id'), 'failures', 'checkpoints', ['checkpoint_id'], ['id'], ondelete='SET NULL')
    op.create_foreign_key(op.f('fk_failures_agent_id'), 'failures', 'agents', ['agent_id'], ['id'], ondelete='SET NULL')
    op.create_check_constraint(op.f('ck_checkpoints_valid_kind'), 'checkpoints', "kind IN ('step', 'named', 'base')")
    _replace_check('agents', 'valid_status', "status IN ('pending', 'running', 'waiting', 'completed', 'skipped', 'failed', 'rolled_back', 'cancelled')")
    _replace_check('failures', 'valid_recovery_status', "recovery_status IN ('pending', 'in_progress', 'resolved', 'escalated')")


def downgrade() -> None:
    _replace_check('failures', 'valid_recovery_status', "recovery_status IN ('pending', 'resolved')")
    _replace_check('agents', 'valid_status', "status IN ('pending', 'running', 'completed', 'failed', 'rolled_back', 'cancelled')")
    op.drop_constraint(op.f('ck_checkpoints_valid_kind'), 'checkpoints', type_='check')
    op.drop_constraint(op.f('fk_failures_agent_id'), 'failures', type_='foreignkey')
    op.drop_constraint(op.f('fk_failures_checkpoint_id'), 'failures', type_='foreignkey')
    op.drop_column('failures', 'recovery_action')
    op.drop_column('failures', 'checkpoint_id')
    op.drop_column('failures', 'agent_id')
    op.drop_constraint(op.f('fk_executions_forked_from'), 'executions', type_='foreignkey')
    op.drop_column('executions', 'paused_at')
    op.drop_column('executions', 'forked_from_checkpoint')
    op.drop_column('executions', 'forked_from')
    op.drop_column('executions', 'policy')
    op.drop_column('executions', 'flow')
    op.drop_constraint(op.f('fk_checkpoints_agent_id'), 'checkpoints', type_='foreignkey')
    op.drop_index('uq_checkpoints_step', table_name='checkpoints', postgresql_where=sa.text("kind = 'step'"))
    op.drop_index('uq_checkpoints_given_name', table_name='checkpoints', postgresql_where=sa.text("kind = 'named' AND deleted_at IS NULL"))
    op.drop_index('ix_checkpoints_execution_id_lineage', table_name='checkpoints')
    op.create_unique_constraint(op.f('uq_checkpoints_execution_id_lineage_step_index'), 'checkpoints', ['execution_id', 'lineage', 'step_index'], postgresql_nulls_not_distinct=False)
    op.create_unique_constraint(op.f('uq_checkpoints_execution_id_checkpoint_number'), 'checkpoints', ['execution_id', 'checkpoint_number'], postgresql_nulls_not_distinct=False)
    op.drop_column('checkpoints', 'deleted_at')
    op.drop_column('checkpoints', 'validation_passed')
    op.drop_column('checkpoints', 'postconditions')
    op.drop_column('checkpoints', 'preconditions')
    op.drop_column('checkpoints', 'branch')
    op.drop_column('checkpoints', 'kind')
    op.drop_column('checkpoints', 'agent_id')
    op.drop_column('agents', 'branch')
    op.drop_index(op.f('ix_recovery_actions_tenant_id'), table_name='recovery_actions')
    op.drop_index(op.f('ix_recovery_actions_failure_id'), table_name='recovery_actions')
    op.drop_table('recovery_actions')
    op.drop_index(op.f('ix_effects_tenant_id'), table_name='effects')
    op.drop_index('ix_effects_execution_id_status', table_name='effects')
    op.drop_table('effects')
    op.drop_index(op.f('ix_rollbacks_tenant_id'), table_name='rollbacks')
    op.drop_table('rollbacks')
    op.drop_index(op.f('ix_lineages_tenant_id'), table_name='lineages')
    op.drop_table('lineages')
    op.drop_index(op.f('ix_consensus_acks_tenant_id'), table_name='consensus_acks')
    op.drop_table('consensus_acks')
    op.drop_index(op.f('ix_consensus_logs_tenant_id'), table_name='consensus_logs')
    op.drop_table('consensus_logs')
    op.drop_index(op.f('ix_approvals_tenant_id'), table_name='approvals')
    op.drop_index(op.f('ix_approvals_status'), table_name='approvals')
    op.drop_index(op.f('ix_approvals_execution_id'), table_name='approvals')
    op.drop_index(op.f('ix_approvals_assignee'), table_name='approvals')
    op.drop_table('approvals')
    op.drop_index(op.f('ix_execution_policy_versions_tenant_id'), table_name='execution_policy_versions')
    op.drop_table('execution_policy_versions')
    op.drop_index(op.f('ix_execution_policies_workflow_id'), table_name='execution_policies')
    op.drop_index(op.f('ix_execution_policies_tenant_id'), table_name='execution_policies')
    op.drop_table('execution_policies')
