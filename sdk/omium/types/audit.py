"""The audit log, exports, erasures, retention."""

from __future__ import annotations

from typing import Literal, TypedDict

from omium.types.base import JsonObject, Page


class AuditEntry(TypedDict, total=False):
    """Who did what to which thing. `timestamp` and `created_at` are the same moment."""

    id: str
    timestamp: str
    tenant_id: str
    user_id: str | None
    api_key_id: str | None
    action: str
    resource_type: str
    resource_id: str | None
    old_values: JsonObject | None
    new_values: JsonObject | None
    ip_address: str | None
    user_agent: str | None
    request_id: str | None
    metadata: JsonObject
    status: Literal["success", "denied", "failure"]
    created_at: str


class AuditPage(Page, total=False):
    audit_logs: list[AuditEntry]


class AuditVerdict(TypedDict, total=False):
    """What a check of the log found; `broken` is the first record that is not what was written."""

    valid: bool
    checked: int
    pending: int
    first_seq: int
    last_seq: int
    broken: JsonObject | None


class DataExport(TypedDict, total=False):
    """`progress` goes from 0 to 1; `download_url` is there as long as it is `ready`."""

    id: str
    user_id: str | None
    status: Literal["pending", "running", "ready", "expired", "failed"]
    phase: str
    progress: float
    rows_done: int
    rows_total: int
    error: str | None
    download_url: str | None
    created_at: str
    completed_at: str | None
    expires_at: str | None


class DataExportPage(Page, total=False):
    exports: list[DataExport]


class Erasure(TypedDict, total=False):
    """The erasure of a tenant. Until `due_at` it can be taken back."""

    id: str
    status: Literal["pending", "running", "completed", "cancelled", "failed"]
    phase: str
    due_at: str | None
    created_at: str
    completed_at: str | None


class PersonErasure(TypedDict, total=False):
    id: str
    user_id: str
    status: Literal["completed"]
    completed_at: str


class RetentionDays(TypedDict, total=False):
    """For how many days things are kept."""

    checkpoint_days: int
    trace_days: int
    audit_days: int
