"""Notifications on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from api.payloads import HoldsPayloads, Payload

NotificationStatus = Literal["pending", "sent", "failed", "dropped"]


class NotificationView(HoldsPayloads):
    """One event for one channel. `policy_id` is null where a definition names the channel; `target` is the receiver's host."""

    id: UUID
    execution_id: UUID
    event_id: UUID
    event_type: str
    policy_id: UUID | None
    policy_version: int | None
    channel: int
    channel_type: Literal["webhook", "log"]
    target: str
    payload: Payload[dict[str, Any]]
    status: NotificationStatus
    attempts: int
    next_attempt_at: datetime | None
    last_error: Payload[str]
    created_at: datetime
    sent_at: datetime | None


class NotificationList(BaseModel):
    notifications: list[NotificationView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class RetryAnswer(BaseModel):
    notification: NotificationView
    message: str
