"""Failures of executions, for people who must decide what to do next."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, sealed_json, sealed_text, time_field


class Failure(Table, table=True):
    """One thing that went wrong in a run, classified."""

    __tablename__ = "failures"
    __table_args__ = (
        CheckConstraint("severity IN ('low', 'medium', 'high', 'critical')", name="valid_severity"),
        CheckConstraint(
            "recovery_status IN ('pending', 'in_progress', 'resolved', 'escalated')", name="valid_recovery_status"
        ),
        Index("ix_failures_time", "tenant_id", "created_at"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", index=True)
    agent_id: UUID | None = Field(default=None, foreign_key="agents.id", ondelete="SET NULL")
    #: The last checkpoint before it.
    checkpoint_id: UUID | None = Field(default=None, foreign_key="checkpoints.id", ondelete="SET NULL")
    lineage: int = 0
    step_index: int | None = None
    step_name: str | None = Field(default=None, max_length=255)
    failure_type: str = Field(max_length=100, index=True)
    severity: str = Field(default="high", max_length=50)
    error_message: str = sealed_text()
    stack_trace: str | None = sealed_text(default=None)
    root_cause: str | None = sealed_text(default=None)
    recovery_suggestion: str | None = sealed_text(default=None)
    is_recoverable: bool = True
    #: The type of the last thing that was done about it.
    recovery_action: str | None = Field(default=None, max_length=100)
    recovery_status: str = Field(default="pending", max_length=50)
    meta: dict[str, Any] = sealed_json(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = time_field()
    resolved_at: datetime | None = optional_time_field()
