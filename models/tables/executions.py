"""Executions and their steps. The documents call a step of an execution an agent, and so does its table."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, false, text
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, optional_time_field, sealed_json, sealed_text, time_field

#: Statuses in which nothing more happens by itself.
TERMINAL = frozenset({"completed", "failed", "cancelled", "rolled_back"})


class Execution(Table, table=True):
    """One run of one version of a workflow.

    Small inputs and outputs lie in the row; large ones in the object store, under the hash in `inputs_blob` and
    `outputs_blob`, where they share their bytes with the run's checkpoints.
    """

    __tablename__ = "executions"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'running', 'paused', 'completed', 'failed', 'rolled_back', 'cancelled')",
            name="valid_status",
        ),
        CheckConstraint("trigger_type IN ('manual', 'api', 'scheduled', 'webhook', 'event')", name="valid_trigger"),
        Index("ix_executions_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_executions_waiting",
            "tenant_id",
            "queued_at",
            "id",
            postgresql_where=text("status = 'pending' AND admitted_at IS NULL"),
        ),
        Index("ix_executions_under_way", "tenant_id", postgresql_where=text("status IN ('pending', 'running')")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    workflow_id: UUID = Field(foreign_key="workflows.id", ondelete="RESTRICT", index=True)
    version_id: UUID = Field(foreign_key="workflow_versions.id", ondelete="RESTRICT")
    workflow_version: int
    framework: str = Field(max_length=50)
    title: str = Field(max_length=300)
    trigger_type: str = Field(default="api", max_length=50)
    triggered_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")

    status: str = Field(default="pending", max_length=50, index=True)
    #: Why a run is paused: operator, approval, credits, budget, consensus, recovery.
    reason: str | None = Field(default=None, max_length=50)
    inputs: dict[str, Any] | None = sealed_json()
    inputs_blob: str | None = Field(default=None, max_length=64)
    outputs: Any = sealed_json()
    outputs_blob: str | None = Field(default=None, max_length=64)
    error_message: str | None = sealed_text(default=None)

    #: Grows by one with each rollback: calls made in one lineage do not answer calls of the next.
    lineage: int = 0
    first_step: str = Field(default="start", max_length=255)
    #: Steps known in advance; 0 where only running tells.
    planned_steps: int = 0
    #: Bound for graphs with cycles, from the definition.
    max_steps: int | None = None
    steps_done: int = 0
    checkpoint_count: int = 0
    current_checkpoint: str | None = Field(default=None, max_length=255)
    retry_count: int = 0
    #: The nodes of a flow and what they wait for, as the run's workflow needs them (`models.wire.FlowNode`).
    flow: list[dict[str, Any]] | None = json_field()
    #: The policies that the run began with, resolved.
    policy: dict[str, Any] | None = sealed_json()
    #: Whether these tell any of its events to somebody.
    notifies: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    forked_from: UUID | None = Field(default=None, foreign_key="executions.id", ondelete="SET NULL")
    forked_from_checkpoint: UUID | None = None
    #: The execution at the beginning of its forks, whose budget they share; None for one that is no fork.
    root_id: UUID | None = None
    #: The key that started it, where one did.
    api_key_id: UUID | None = Field(default=None, foreign_key="api_keys.id", ondelete="SET NULL")
    meta: dict[str, Any] = sealed_json(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})

    #: When it came to wait for its turn, and when it got it: one that is pending without this is not started yet.
    queued_at: datetime = time_field()
    admitted_at: datetime | None = optional_time_field()
    started_at: datetime | None = optional_time_field()
    paused_at: datetime | None = optional_time_field()
    completed_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class Agent(Table, table=True):
    """One step of an execution: which agent or nodes ran, how often it was tried, and what it produced.

    `attempt` is also the fence: a process that works for a lower attempt may not act any more.
    """

    __tablename__ = "agents"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'running', 'waiting', 'completed', 'skipped', 'failed', 'rolled_back', 'cancelled')",
            name="valid_status",
        ),
        UniqueConstraint("execution_id", "lineage", "step_index"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    lineage: int = 0
    #: The node of a flow that the step belongs to; empty for a run without branches.
    branch: str = Field(default="", max_length=255, sa_column_kwargs={"server_default": ""})
    step_index: int
    name: str = Field(max_length=255)
    framework: str = Field(max_length=50)
    status: str = Field(default="pending", max_length=50)
    attempt: int = 0
    failures: int = 0
    output: Any = sealed_json()
    error: str | None = sealed_text(default=None)
    started_at: datetime | None = optional_time_field()
    completed_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
