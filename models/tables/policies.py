"""Execution policies: what a run does when something goes wrong, and what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, sealed_json, sealed_text, time_field

POLICY_TYPES = ("timeout", "retry", "recovery", "rollback", "notification")


class ExecutionPolicy(Table, table=True):
    """A policy of a tenant, or of one workflow of it. Every change makes a new `version`; runs keep what they began with."""

    __tablename__ = "execution_policies"
    __table_args__ = (
        CheckConstraint(
            "policy_type IN ('timeout', 'retry', 'recovery', 'rollback', 'notification')", name="valid_policy_type"
        ),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    workflow_id: UUID | None = Field(default=None, foreign_key="workflows.id", ondelete="CASCADE", index=True)
    name: str = Field(max_length=255)
    description: str | None = sealed_text(default=None)
    policy_type: str = Field(max_length=50)
    policy_config: dict[str, Any] = sealed_json(default_factory=dict, nullable=False)
    version: int = 1
    is_active: bool = True
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    deleted_at: datetime | None = optional_time_field()


class ExecutionPolicyVersion(Table, table=True):
    """What a policy said in one of its versions."""

    __tablename__ = "execution_policy_versions"
    __table_args__ = (UniqueConstraint("policy_id", "version"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    policy_id: UUID = Field(foreign_key="execution_policies.id", ondelete="CASCADE")
    version: int
    name: str = Field(max_length=255)
    policy_config: dict[str, Any] = sealed_json(default_factory=dict, nullable=False)
    is_active: bool
    created_at: datetime = time_field()


class RecoveryAction(Table, table=True):
    """One thing that was done about a failure, by a policy or by a person."""

    __tablename__ = "recovery_actions"
    __table_args__ = (
        CheckConstraint(
            "action_type IN ('rollback', 'retry', 'prompt_edit', 'manual_intervention', 'escalate', 'model_fallback')",
            name="valid_action_type",
        ),
        CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')", name="valid_status"
        ),
        UniqueConstraint("execution_id", "command_id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    failure_id: UUID = Field(foreign_key="failures.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    #: What asked for it: done once however often it is asked.
    command_id: str = Field(max_length=255)
    action_type: str = Field(max_length=100)
    action_config: dict[str, Any] = sealed_json(default_factory=dict, nullable=False)
    triggered_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    trigger_type: str = Field(default="policy", max_length=50)
    triggered_at: datetime = time_field()
    status: str = Field(default="pending", max_length=50)
    started_at: datetime | None = optional_time_field()
    completed_at: datetime | None = optional_time_field()
    success: bool | None = None
    error: str | None = sealed_text(default=None)
    meta: dict[str, Any] = sealed_json(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
