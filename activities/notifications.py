"""What people are told of a run's events: who hears of an event, what is said, and how it is sent.

An event is queued in the transaction that takes its mark away, once for each channel. It is sent at least once: a receiver
knows a repetition by its id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import ToolFailed
from activities.policies.channels import Channel
from activities.policies.configs import NotificationConfig
from activities.policies.reading import read_config
from activities.tools.http_request import HttpTool
from activities.webhooks.queueing import queue_event
from models.repositories.notifications import defined_config, notification_configs, take_marked
from models.repositories.webhooks import WebhookRepository
from models.tables import Execution, ExecutionEvent, Notification
from omium_core.errors import InvalidInput

log = structlog.get_logger(__name__)

#: The source of what a definition says, where a policy has its id.
DEFINITION = "definition"
Source = tuple[str, int, NotificationConfig]


async def queue_marked(db: AsyncSession, limit: int = 100) -> int:
    """Queues what is told of the oldest marked events: notifications, and deliveries to webhook endpoints.

    Returns how many events there were.
    """
    found = await take_marked(db, limit)
    known: dict[UUID, list[Source]] = {}
    endpoints = await WebhookRepository(db, found[0][1].tenant_id).listening() if found else ()
    for event, execution in found:
        if execution.id not in known:
            known[execution.id] = await _sources(db, execution) if execution.notifies else []
        db.add_all(_notifications(event, execution, known[execution.id]))
        if endpoints:
            await queue_event(db, event, execution, endpoints)
    return len(found)


async def _sources(db: AsyncSession, execution: Execution) -> list[Source]:
    """The notification policies that hold for a run, each in the version that it began with."""
    began_with = [(UUID(said["id"]), said["version"]) for said in (execution.policy or {}).get("sources", ())]
    stored: Sequence[tuple[str, int, Any]] = [
        (str(row[0]), row[1], row[2]) for row in await notification_configs(db, began_with)
    ]
    own = await defined_config(db, execution.version_id)
    if own is not None:
        stored = [*stored, (DEFINITION, execution.workflow_version, own)]
    return [(source, version, config) for source, version, raw in stored if (config := _read(raw)) is not None]


def _read(raw: Any) -> NotificationConfig | None:
    try:
        config = read_config("notification", raw)
    except InvalidInput as error:
        # it was right when the run began: a rule has changed since
        log.error("a notification policy cannot be used any more", error=error.message)
        return None
    assert isinstance(config, NotificationConfig)
    return config


def _notifications(event: ExecutionEvent, execution: Execution, sources: Sequence[Source]) -> list[Notification]:
    """One for each channel; a channel that several policies name hears of an event once."""
    told: dict[str, Notification] = {}
    for source, version, config in sources:
        for place, channel in config.channels_for(event.event_type):
            row = Notification(
                tenant_id=event.tenant_id,
                execution_id=event.execution_id,
                event_id=event.id,
                event_type=event.event_type,
                source=source,
                source_version=version,
                channel=place,
                channel_type=channel.type,
                target=channel.host,
                payload=_payload(event, execution),
            )
            told.setdefault(channel.model_dump_json(), row)
    return list(told.values())


def _payload(event: ExecutionEvent, execution: Execution) -> dict[str, Any]:
    path = f"/api/v1/executions/{execution.id}"
    return {
        "event": {
            "id": str(event.id),
            "type": event.event_type,
            "at": event.created_at.isoformat(),
            "data": event.told,
        },
        "execution": {
            "id": str(execution.id),
            "title": execution.title,
            "workflow_id": str(execution.workflow_id),
            "workflow_version": execution.workflow_version,
            "framework": execution.framework,
        },
        "links": {
            "execution": path,
            "events": f"{path}/events",
            "failures": f"/api/v1/failures?execution_id={execution.id}",
        },
    }


async def channel_of(db: AsyncSession, notification: Notification, version_id: UUID) -> Channel | None:
    """The channel of a notification, None if what named it is gone or cannot be used any more."""
    if notification.source == DEFINITION:
        raw = await defined_config(db, version_id)
    else:
        found = await notification_configs(db, [(UUID(notification.source), notification.source_version)])
        raw = found[0][2] if found else None
    config = None if raw is None else _read(raw)
    channels = dict(config.channels_for(notification.event_type)) if config else {}
    return channels.get(notification.channel)


class Sender:
    """Sends one notification. `timeout` is in seconds, `allow_private` what the operator allows of private addresses."""

    def __init__(self, allow_private: Sequence[str], timeout: float) -> None:
        self._http = HttpTool(allow_private)
        self._timeout = timeout

    async def send(self, notification: Notification, channel: Channel) -> None:
        """Raises `AddressRefused`, or `ToolFailed` when the receiver did not take it."""
        if channel.url is None:
            row, told = notification, notification.payload["event"]
            ids = {"id": str(row.id), "tenant_id": str(row.tenant_id), "execution_id": str(row.execution_id)}
            log.info("notification", event_type=told["type"], at=told["at"], data=told["data"], **ids)
            return
        body = json.dumps({"id": str(notification.id), **notification.payload}, sort_keys=True).encode()
        headers = {
            **channel.headers,
            "Content-Type": "application/json",
            "User-Agent": "omium",
            "X-Omium-Event": notification.event_type,
            "X-Omium-Delivery": str(notification.id),
        }
        if channel.secret is not None:
            headers["X-Omium-Signature"] = sign(body, channel.secret, int(time.time()))
        status = await self._http.post(channel.url, body, headers, self._timeout)
        if not 200 <= status < 300:
            raise ToolFailed(f"{channel.host} answered {status}.")


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """Proves who sent a body, and when: HMAC-SHA256 of the time in seconds, a dot and the body."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
