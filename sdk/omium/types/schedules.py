"""Schedules, and webhooks that tell of what happens."""

from __future__ import annotations

from typing import Literal, TypedDict

from omium.types.base import JsonObject, Page

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]


class RunError(TypedDict, total=False):
    code: str
    message: str


class ScheduleRun(TypedDict, total=False):
    """One time that a schedule fired. A `refused` one started nothing: `error` says why."""

    id: str
    scheduled_at: str
    fired_at: str
    status: Literal["started", "refused"]
    execution_id: str | None
    execution_status: str | None
    error: RunError | None


class ScheduleCounts(TypedDict, total=False):
    fired: int
    running: int
    skipped: int
    missed: int


class Schedule(TypedDict, total=False):
    """Durations are in seconds. `recent_runs` and `counts` are there when one schedule is asked for."""

    id: str
    workflow_id: str
    name: str
    description: str | None
    cron: str | list[str] | None
    interval: float | None
    timezone: str
    inputs: JsonObject | None
    overlap_policy: Overlap
    catchup_window: float
    paused: bool
    note: str | None
    start_at: str | None
    end_at: str | None
    synced: bool
    next_run_times: list[str]
    recent_runs: list[ScheduleRun]
    counts: ScheduleCounts | None
    created_at: str
    updated_at: str


class SchedulePage(Page, total=False):
    schedules: list[Schedule]


class ScheduleRunPage(Page, total=False):
    runs: list[ScheduleRun]


class ScheduleEnvelope(TypedDict, total=False):
    """Answer of `schedules.pause`, `resume`, `trigger` and `backfill`."""

    schedule: Schedule
    message: str


class Webhook(TypedDict, total=False):
    """`secret` is there once: when the endpoint is made, and when its secret is rotated."""

    id: str
    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    failing_since: str | None
    secret: str
    previous_secret_expires_at: str
    created_at: str
    updated_at: str


class WebhookPage(Page, total=False):
    webhooks: list[Webhook]


class WebhookEvent(TypedDict, total=False):
    name: str
    description: str


class WebhookEvents(TypedDict, total=False):
    events: list[WebhookEvent]


class WebhookAttempt(TypedDict, total=False):
    at: str
    attempt: int
    response_code: int | None
    duration_ms: int
    error: str | None


class WebhookDelivery(TypedDict, total=False):
    """`message_id` is what is sent as `webhook-id`: the same in each attempt."""

    id: str
    webhook_id: str
    message_id: str
    event_type: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: str | None
    response_code: int | None
    duration_ms: int | None
    last_error: str | None
    payload: JsonObject
    attempt_log: list[WebhookAttempt]
    created_at: str
    delivered_at: str | None


class WebhookDeliveryPage(Page, total=False):
    deliveries: list[WebhookDelivery]


class WebhookDeliveryEnvelope(TypedDict, total=False):
    """Answer of `webhooks.test` and `webhooks.redeliver`."""

    delivery: WebhookDelivery
    message: str
