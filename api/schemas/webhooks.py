"""Outgoing webhooks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.payloads import HoldsPayloads, Payload
from api.schemas.common import Request, Text

Url = Annotated[Text, Field(min_length=1, max_length=2000, examples=["https://hooks.example.com/omium"])]
Events = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=100)]],
    Field(min_length=1, max_length=100, examples=[["execution.completed", "execution.failed", "approval.*"]]),
]
Description = Annotated[Text, Field(max_length=10_000)]
DeliveryStatus = Literal["pending", "delivered", "failed"]


class WebhookCreate(Request):
    """An address that is told of events: names of `GET /webhooks/events`, `execution.*` for all of a kind, `*` for all."""

    url: Url
    events: Events = Field(default_factory=lambda: ["*"])
    description: Description | None = None
    enabled: bool = True


class WebhookUpdate(Request):
    """What is not named stays as it is. An endpoint that was switched off is switched on again with `enabled`."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = None


class WebhookView(BaseModel):
    """An endpoint. `disabled_reason` is `failing` or `gone` where it was switched off by itself."""

    id: UUID
    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookCreated(WebhookView):
    """With the secret, which is shown this once."""

    secret: str


class WebhookRotated(WebhookCreated):
    """The secret before signs as well until then."""

    previous_secret_expires_at: datetime


class WebhookList(BaseModel):
    webhooks: list[WebhookView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class WebhookEvent(BaseModel):
    name: str
    description: str


class WebhookEvents(BaseModel):
    events: list[WebhookEvent]


class Attempt(BaseModel):
    at: datetime
    attempt: int
    response_code: int | None
    duration_ms: int
    error: str | None


class DeliveryView(HoldsPayloads):
    """One event for one endpoint. `message_id` is what it sends as `webhook-id`: the same in each attempt."""

    id: UUID
    webhook_id: UUID
    message_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    response_code: int | None
    duration_ms: int | None
    last_error: str | None
    payload: Payload[dict[str, Any]]
    attempt_log: list[Attempt]
    created_at: datetime
    delivered_at: datetime | None


class DeliveryList(BaseModel):
    deliveries: list[DeliveryView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class DeliveryAnswer(BaseModel):
    delivery: DeliveryView
    message: str
