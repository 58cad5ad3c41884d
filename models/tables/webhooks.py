"""Outgoing webhooks: where a tenant wants to be told of events, and what was told."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from models.sealing import SealedJson, SealedText
from models.tables.base import Table, id_field, optional_time_field, time_field


class WebhookEndpoint(Table, table=True):
    """An address that is told of chosen events. `events` holds names, `execution.*` for all of a kind, `*` for all."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        Index("ix_webhook_endpoints_tenant_id_id", "tenant_id", "id"),
        # asked at each event of a run
        Index("ix_webhook_endpoints_listening", "tenant_id", postgresql_where=text("enabled")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    url: str = Field(sa_type=SealedText, nullable=False)
    #: What may be shown of the address in logs: its path may be as good as a password.
    host: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    events: list[str] = Field(sa_type=ARRAY(String(100)), nullable=False)
    enabled: bool = True
    #: Why it was switched off, where nobody did it.
    disabled_reason: str | None = Field(default=None, max_length=100)
    secret: str = Field(sa_type=SealedText, nullable=False)
    #: Signs besides the present one until then.
    previous_secret: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    previous_secret_expires_at: datetime | None = optional_time_field()
    #: The first failed attempt since the last one that was taken.
    failing_since: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class WebhookDelivery(Table, table=True):
    """One event for one endpoint. `message_id` is the event's, whatever the endpoint and however often it is sent.

    `subject` is what the event is about: events of one subject are sent one after the other.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="valid_status"),
        UniqueConstraint("endpoint_id", "message_id"),
        Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index(
            "ix_webhook_deliveries_due", "endpoint_id", "next_attempt_at", postgresql_where=text("status = 'pending'")
        ),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    endpoint_id: UUID = Field(foreign_key="webhook_endpoints.id", ondelete="CASCADE")
    message_id: str = Field(max_length=64)
    event_type: str = Field(max_length=100)
    subject: str = Field(default="", max_length=64)
    payload: dict[str, Any] = Field(sa_type=SealedJson, nullable=False)
    status: str = Field(default="pending", max_length=20)
    attempts: int = 0
    next_attempt_at: datetime = time_field()
    response_code: int | None = None
    duration_ms: int | None = None
    last_error: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    #: The last attempts, the newest first.
    attempt_log: list[dict[str, Any]] = Field(default_factory=list, sa_type=SealedJson, nullable=False)
    created_at: datetime = time_field()
    delivered_at: datetime | None = optional_time_field()
