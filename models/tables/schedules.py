"""Schedules: when a workflow is run by itself, and what came of each time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from models.sealing import SealedJson, SealedText
from models.tables.base import Table, id_field, optional_time_field, time_field


class Schedule(Table, table=True):
    """When a workflow is run, and with which inputs. The truth; the schedule in Temporal is made to agree with it.

    `revision` grows with each change, `synced_revision` is the one that Temporal has. A row that is deleted stays until
    Temporal has let go of it.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint(
            "overlap_policy IN ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all')", name="valid_overlap"
        ),
        CheckConstraint("(cron IS NULL) <> (interval_seconds IS NULL)", name="cron_or_interval"),
        Index("ix_schedules_tenant_id_id", "tenant_id", "id"),
        Index("ix_schedules_not_synced", "id", postgresql_where=text("synced_revision < revision")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    workflow_id: UUID = Field(foreign_key="workflows.id", ondelete="CASCADE", index=True)
    name: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    #: Five fields each; it fires when one of them says so.
    cron: list[str] | None = Field(default=None, sa_type=ARRAY(String(255)), nullable=True)
    interval_seconds: float | None = None
    timezone: str = Field(default="UTC", max_length=64)
    inputs: dict[str, Any] = Field(default_factory=dict, sa_type=SealedJson, nullable=False)
    overlap_policy: str = Field(default="skip", max_length=20)
    catchup_window: float = 86_400.0
    paused: bool = False
    #: Why it was paused or resumed.
    note: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    start_at: datetime | None = optional_time_field()
    end_at: datetime | None = optional_time_field()
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    revision: int = 1
    synced_revision: int = 0
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    deleted_at: datetime | None = optional_time_field()


class ScheduleRun(Table, table=True):
    """One time that a schedule fired: the execution that it started, or why none was. At most one for each time."""

    __tablename__ = "schedule_runs"
    __table_args__ = (
        CheckConstraint("status IN ('started', 'refused')", name="valid_status"),
        UniqueConstraint("schedule_id", "scheduled_at"),
        Index("ix_schedule_runs_schedule_id_id", "schedule_id", "id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    schedule_id: UUID = Field(foreign_key="schedules.id", ondelete="CASCADE")
    scheduled_at: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)
    execution_id: UUID | None = Field(default=None, foreign_key="executions.id", ondelete="SET NULL", index=True)
    status: str = Field(max_length=20)
    error_code: str | None = Field(default=None, max_length=100)
    error_message: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    created_at: datetime = time_field()


class ScheduleCommand(Table, table=True):
    """An Idempotency-Key that a trigger or a backfill came with."""

    __tablename__ = "schedule_commands"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    key: str = Field(max_length=255, primary_key=True)
    request_hash: str = Field(max_length=64)
    created_at: datetime = time_field()
