"""The audit log on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from api.schemas.common import Instant, Text
from models.repositories.audit import AuditFilter
from models.tables import AuditLog

Short = Annotated[Text, Query(max_length=128)]


class AuditView(BaseModel):
    """One entry. `timestamp` and `created_at` are the same moment. Values are those before and after a change."""

    id: UUID
    timestamp: datetime
    tenant_id: UUID
    user_id: UUID | None
    api_key_id: UUID | None
    action: str
    resource_type: str
    resource_id: UUID | None
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None
    ip_address: str | None
    user_agent: str | None
    request_id: str | None
    metadata: dict[str, Any]
    status: Literal["success", "denied", "failure"]
    created_at: datetime


class AuditList(BaseModel):
    audit_logs: list[AuditView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class BrokenRecord(BaseModel):
    kind: Literal["changed", "deleted", "inserted", "reordered", "cut", "head"]
    message: str
    seq: int | None
    audit_id: UUID | None


class AuditVerdict(BaseModel):
    """What a check found. `pending` entries are written and not sealed yet, which takes a second or two."""

    valid: bool
    checked: int
    pending: int
    first_seq: int
    last_seq: int
    broken: BrokenRecord | None


class AuditQuery:
    """What entries are filtered by. `from` is included, `to` is not."""

    def __init__(
        self,
        user_id: UUID | None = None,
        api_key_id: UUID | None = None,
        action: Annotated[Short | None, Query(description="Such as execution.pause")] = None,
        resource_type: Short | None = None,
        resource_id: UUID | None = None,
        request_id: Short | None = None,
        status: Literal["success", "denied", "failure"] | None = None,
        since: Annotated[Instant | None, Query(alias="from")] = None,
        until: Annotated[Instant | None, Query(alias="to")] = None,
    ) -> None:
        self.wanted = AuditFilter(
            user_id, api_key_id, action, resource_type, resource_id, request_id, status, since, until
        )


def view(entry: AuditLog) -> AuditView:
    return AuditView(**entry.model_dump(exclude={"meta"}), timestamp=entry.created_at, metadata=entry.meta)
