"""Failures on the wire, under the names of both documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class FailureView(BaseModel):
    id: UUID
    execution_id: UUID
    step_name: str | None
    failure_type: str
    severity: str
    error_message: str
    root_cause: str | None
    stack_trace: str | None
    recovery_suggestion: str | None
    suggested_fix: str | None
    is_recoverable: bool
    recovery_status: str
    metadata: dict[str, Any]
    created_at: datetime
    detected_at: datetime
    resolved_at: datetime | None


class Pagination(BaseModel):
    total: int
    limit: int
    offset: int


class FailureList(BaseModel):
    failures: list[FailureView]
    total: int
    limit: int
    next_cursor: UUID | None
    pagination: Pagination
