"""What people asked to be given or to be forgotten, and what waits to be swept from the object store."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, time_field


class DataRequest(Table, table=True):
    """An export or an erasure. The row of an erasure stays when all else is gone: it says what was done, and when.

    Status: `pending`, `running`, `ready` (an export that can be fetched), `expired`, `completed` (an erasure), `cancelled`,
    `failed`. Erasures that have a time of grace are `pending` until `due_at`.
    """

    __tablename__ = "data_requests"
    __table_args__ = (
        CheckConstraint("kind IN ('export', 'erasure')", name="valid_kind"),
        CheckConstraint(
            "status IN ('pending', 'running', 'ready', 'expired', 'completed', 'cancelled', 'failed')",
            name="valid_status",
        ),
        Index("ix_data_requests_tenant_id_id", "tenant_id", "id"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    kind: str = Field(max_length=20)
    #: The person that it is about; None for the whole tenant.
    subject_user_id: UUID | None = None
    status: str = Field(default="pending", max_length=20)
    #: What is being done: a table, or a stage of an erasure.
    phase: str = Field(default="", max_length=100)
    rows_total: int = Field(default=0, sa_type=BigInteger)
    rows_done: int = Field(default=0, sa_type=BigInteger)
    error: str | None = Field(default=None, max_length=100)
    requested_by_user: UUID | None = None
    requested_by_key: UUID | None = None
    due_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    completed_at: datetime | None = optional_time_field()
    expires_at: datetime | None = optional_time_field()


class UnreferencedObject(Table, table=True):
    """An object that nothing referred to when somebody looked. It is removed when that is still so much later."""

    __tablename__ = "unreferenced_objects"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    digest: str = Field(max_length=64, primary_key=True)
    seen_at: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)
