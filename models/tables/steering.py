"""What steers a run: rollbacks, the effects that they undo, and questions to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, sealed_json, sealed_text, time_field


class Rollback(Table, table=True):
    """One rollback of an execution. `command_id` is the command that asked for it: asked twice, it is done once."""

    __tablename__ = "rollbacks"
    __table_args__ = (
        CheckConstraint("status IN ('in_progress', 'completed', 'failed')", name="valid_status"),
        CheckConstraint("trigger_type IN ('manual', 'automatic', 'policy')", name="valid_trigger"),
        UniqueConstraint("execution_id", "command_id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    command_id: str = Field(max_length=255)
    from_checkpoint_id: UUID | None = Field(default=None, foreign_key="checkpoints.id", ondelete="SET NULL")
    to_checkpoint_id: UUID = Field(foreign_key="checkpoints.id", ondelete="CASCADE")
    from_lineage: int
    to_lineage: int
    triggered_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    trigger_reason: str = sealed_text()
    trigger_type: str = Field(default="manual", max_length=50)
    status: str = Field(default="in_progress", max_length=50)
    rollback_success: bool | None = None
    error: str | None = sealed_text(default=None)
    affected_agents: list[UUID] = Field(default_factory=list, sa_type=ARRAY(Uuid), nullable=False)
    edits: dict[str, Any] | None = sealed_json()
    meta: dict[str, Any] = sealed_json(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    started_at: datetime = time_field()
    completed_at: datetime | None = optional_time_field()


class Effect(Table, table=True):
    """One call of a tool that changes the world, written before the call is made.

    Status: `pending` (called, outcome not known), `done`, `failed` (the tool said no: nothing to undo), `undoing`,
    `undone`, `kept` (it could not be undone and somebody agreed to that). `idempotency_key` is what the tool was given;
    its inverse gets the same with `undo-` before it.
    """

    __tablename__ = "effects"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'done', 'failed', 'undoing', 'undone', 'kept')", name="valid_status"),
        UniqueConstraint("execution_id", "idempotency_key"),
        Index("ix_effects_execution_id_status", "execution_id", "status"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    lineage: int
    step_index: int
    idempotency_key: str = Field(max_length=64)
    tool: str = Field(max_length=255)
    arguments: Any = sealed_json()
    result: Any = sealed_json()
    reversible: bool
    #: Name of the tool that undoes it.
    inverse: str | None = Field(default=None, max_length=255)
    status: str = Field(default="pending", max_length=20)
    error: str | None = sealed_text(default=None)
    rollback_id: UUID | None = Field(default=None, foreign_key="rollbacks.id", ondelete="SET NULL")
    created_at: datetime = time_field()
    undone_at: datetime | None = optional_time_field()


class Approval(Table, table=True):
    """A question of a run to a person.

    `interrupt_id` is the framework's name for it within its step, `approval:<before|after>` where the definition asks.
    Status: `pending`, `approved`, `rejected`, `edited`, `expired` (the default was taken), `cancelled` (the run ended or
    was rolled back behind it).
    """

    __tablename__ = "approvals"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'edited', 'expired', 'cancelled')", name="valid_status"
        ),
        UniqueConstraint("execution_id", "lineage", "step_index", "interrupt_id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", index=True)
    lineage: int
    step_index: int
    step_name: str = Field(max_length=255)
    interrupt_id: str = Field(max_length=255)
    title: str = sealed_text(default="")
    question: Any = sealed_json()
    question_blob: str | None = Field(default=None, max_length=64)
    assignee: str | None = Field(default=None, max_length=255, index=True)
    status: str = Field(default="pending", max_length=20, index=True)
    deadline: datetime | None = optional_time_field()
    #: What is taken at the deadline: approve, reject, edit (with `default_value`); empty: it stays open.
    default_decision: str | None = Field(default=None, max_length=20)
    default_value: Any = sealed_json()
    answer: Any = sealed_json()
    answer_blob: str | None = Field(default=None, max_length=64)
    comment: str | None = sealed_text(default=None)
    answered_by: str | None = Field(default=None, max_length=255)
    created_at: datetime = time_field()
    answered_at: datetime | None = optional_time_field()
