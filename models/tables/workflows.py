"""Workflow definitions. A definition is never changed: an update adds a version, and runs keep theirs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, sealed_json, sealed_text, time_field


class Workflow(Table, table=True):
    """A registered workflow: its name, and which version runs when somebody executes it."""

    __tablename__ = "workflows"

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    name: str = Field(max_length=255)
    description: str | None = sealed_text(default=None)
    framework: str = Field(max_length=50, index=True)
    version: int = 1
    is_active: bool = True
    tags: list[str] = Field(default_factory=list, sa_type=ARRAY(String(100)))
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    deleted_at: datetime | None = optional_time_field()


class WorkflowVersion(Table, table=True):
    """One definition, for ever as it was when it was posted."""

    __tablename__ = "workflow_versions"
    __table_args__ = (UniqueConstraint("workflow_id", "version"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    workflow_id: UUID = Field(foreign_key="workflows.id", ondelete="CASCADE")
    version: int
    framework: str = Field(max_length=50)
    workflow_definition: dict[str, Any] = sealed_json(nullable=False, default_factory=dict)
    input_schema: dict[str, Any] | None = sealed_json()
    output_schema: dict[str, Any] | None = sealed_json()
    #: Name of the first step, where a worker had to load the definition to know it.
    first_step: str | None = Field(default=None, max_length=255)
    created_at: datetime = time_field()
