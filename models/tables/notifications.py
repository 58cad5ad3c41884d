"""The outbox: what is told of a run's events, to whom, and how far that is."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, sealed_json, sealed_text, time_field


class Notification(Table, table=True):
    """One event for one channel.

    `source` is the policy that names the channel, or `definition`, in the version that the run began with; `channel` is the
    channel's place in it. Addresses and secrets stay there: of an address, the row has the host only.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'sent', 'failed', 'dropped')", name="valid_status"),
        UniqueConstraint("event_id", "source", "channel"),
        Index("ix_notifications_tenant_id_id", "tenant_id", "id"),
        Index("ix_notifications_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", index=True)
    event_id: UUID = Field(foreign_key="execution_events.id", ondelete="CASCADE")
    event_type: str = Field(max_length=100)
    source: str = Field(max_length=36)
    source_version: int
    channel: int
    channel_type: str = Field(max_length=20)
    target: str = Field(default="", max_length=255)
    #: Names, numbers and references, as the event has them.
    payload: dict[str, Any] = sealed_json(default_factory=dict, nullable=False)
    status: str = Field(default="pending", max_length=20)
    attempts: int = 0
    next_attempt_at: datetime = time_field()
    last_error: str | None = sealed_text(default=None)
    created_at: datetime = time_field()
    sent_at: datetime | None = optional_time_field()
