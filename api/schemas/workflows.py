"""Workflows on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.common import Request, Text

Name = Annotated[Text, Field(min_length=1, max_length=255)]
Tags = Annotated[list[Annotated[Text, Field(min_length=1, max_length=100)]], Field(max_length=50)]


class WorkflowCreate(Request):
    name: Name
    framework: Annotated[Text, Field(max_length=50)]
    workflow_definition: dict[str, Any]
    description: Annotated[Text, Field(max_length=10_000)] | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    tags: Tags = Field(default_factory=list)


class WorkflowUpdate(Request):
    """What is not named stays as it is. Every update makes a new version."""

    name: Name | None = None
    framework: Annotated[Text, Field(max_length=50)] | None = None
    workflow_definition: dict[str, Any] | None = None
    description: Annotated[Text, Field(max_length=10_000)] | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    tags: Tags | None = None
    is_active: bool | None = None


class WorkflowSummary(BaseModel):
    """A workflow in a list."""

    id: UUID
    name: str
    description: str | None
    framework: str
    version: int
    is_active: bool
    tags: list[str]
    created_at: datetime
    updated_at: datetime


class WorkflowDetail(WorkflowSummary):
    workflow_definition: dict[str, Any]
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    #: What the adapter accepts and leaves out, a sentence each.
    warnings: list[str] = []


class WorkflowList(BaseModel):
    workflows: list[WorkflowSummary]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int
