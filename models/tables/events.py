"""What happened in an execution, in order: the timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, time_field


class ExecutionEvent(Table, table=True):
    """One entry of the timeline; `data` holds names, numbers and references, never payloads."""

    __tablename__ = "execution_events"
    __table_args__ = (Index("ix_execution_events_execution_id_id", "execution_id", "id"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    event_type: str = Field(max_length=100)
    data: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    created_at: datetime = time_field()
