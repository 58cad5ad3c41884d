"""Exports, erasures and retention on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.common import Request, Text
from models.tables import DataRequest
from omium_core.retention import LONGEST, SHORTEST, SHORTEST_AUDIT


class ExportRequest(Request):
    """Everything of the tenant, or with `user_id` what it has of one person."""

    user_id: UUID | None = None


class ExportView(BaseModel):
    """`progress` goes from 0 to 1. `download_url` is there as long as the export is `ready`."""

    id: UUID
    user_id: UUID | None
    status: Literal["pending", "running", "ready", "expired", "failed"]
    phase: str
    progress: float
    rows_done: int
    rows_total: int
    error: str | None
    download_url: str | None
    created_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None


class ExportList(BaseModel):
    exports: list[ExportView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class ErasureRequest(Request):
    """`confirm` is the tenant's slug. Who signed in gives the password too, and the code where codes are asked for."""

    confirm: Annotated[Text, Field(max_length=100)]
    grace_days: Annotated[float, Field(ge=0, le=90)] = 0
    password: Annotated[Text, Field(max_length=1024)] | None = None
    code: Annotated[Text, Field(max_length=64)] | None = None


class ErasureView(BaseModel):
    """Until `due_at` it can be taken back. When it runs, nothing of the tenant can be read any more."""

    id: UUID
    status: Literal["pending", "running", "completed", "cancelled", "failed"]
    phase: str
    due_at: datetime | None
    created_at: datetime
    completed_at: datetime | None


class PersonErased(BaseModel):
    id: UUID
    user_id: UUID
    status: Literal["completed"]
    completed_at: datetime


Days = Annotated[int, Field(ge=SHORTEST, le=LONGEST)]


class RetentionView(BaseModel):
    """Days for which things are kept. Traces are the call journal, events, notifications and deliveries."""

    checkpoint_days: int
    trace_days: int
    audit_days: int


class RetentionUpdate(Request):
    """What is not named stays as it is."""

    checkpoint_days: Days | None = None
    trace_days: Days | None = None
    audit_days: Annotated[int, Field(ge=SHORTEST_AUDIT, le=LONGEST)] | None = None


def export_view(row: DataRequest) -> ExportView:
    ready = row.status == "ready"
    done = min(row.rows_done / row.rows_total, 1.0) if row.rows_total else 0.0
    return ExportView(
        **row.model_dump(
            include={"id", "status", "phase", "rows_done", "rows_total", "error", "created_at", "completed_at"}
        ),
        user_id=row.subject_user_id,
        expires_at=row.expires_at,
        progress=1.0 if ready or row.status == "expired" else round(done, 4),
        download_url=f"/api/v1/tenant/exports/{row.id}/download" if ready else None,
    )


def erasure_view(row: DataRequest) -> ErasureView:
    return ErasureView(**row.model_dump(include=set(ErasureView.model_fields)))
