"""Failures on the wire, under the names of both documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from api.payloads import HoldsPayloads, Payload


class FailureView(HoldsPayloads):
    id: UUID
    execution_id: UUID
    agent_id: UUID | None
    #: The last checkpoint before it.
    checkpoint_id: UUID | None
    lineage: int
    step_index: int | None
    step_name: str | None
    failure_type: str
    severity: str
    error_message: Payload[str]
    root_cause: Payload[str]
    stack_trace: Payload[str]
    recovery_suggestion: Payload[str]
    suggested_fix: Payload[str]
    is_recoverable: bool
    #: The type of the last thing that was done about it.
    recovery_action: str | None
    recovery_status: str
    metadata: Payload[dict[str, Any]]
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
    page: int
    per_page: int
    pagination: Pagination
