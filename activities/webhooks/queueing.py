"""Turns what happened into deliveries: the events of runs, and those of the tenant itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.webhooks.catalogue import OF_ACTIONS
from models.repositories.webhooks import WebhookRepository
from models.tables import Execution, ExecutionEvent, WebhookEndpoint

#: What has become of an execution, by the event that says so: its row may have gone on since.
_STATUS = {
    "execution.started": "running",
    "execution.resumed": "running",
    "execution.waits": "paused",
    "execution.retried": "pending",
    **{f"execution.{status}": status for status in ("paused", "completed", "failed", "cancelled", "rolled_back")},
}


async def queue_event(
    session: AsyncSession, event: ExecutionEvent, execution: Execution, endpoints: Sequence[WebhookEndpoint]
) -> None:
    """Queues one event of a run for the endpoints that want it."""
    await WebhookRepository(session, event.tenant_id).tell(
        event.event_type,
        _data(event, execution),
        at=event.created_at,
        message_id=f"msg_{event.id.hex}",
        subject=str(execution.id),
        endpoints=endpoints,
    )


async def queue_action(
    session: AsyncSession,
    tenant_id: UUID,
    action: str,
    resource_type: str,
    resource_id: UUID | None,
    by: str,
    values: dict[str, Any] | None,
) -> None:
    """Queues what somebody did, where the catalogue has an event for it. `action` and `values` are the audit log's."""
    told = OF_ACTIONS.get(action)
    if told is None:
        return
    data: dict[str, Any] = {"id": None if resource_id is None else str(resource_id), "type": resource_type, "by": by}
    if values:
        data["values"] = values
    await WebhookRepository(session, tenant_id).tell(told[0], data, subject=str(resource_id or ""))


def _data(event: ExecutionEvent, execution: Execution) -> dict[str, Any]:
    path = f"/api/v1/executions/{execution.id}"
    data: dict[str, Any] = {
        "event_id": str(event.id),
        "execution_id": str(execution.id),
        "title": execution.title,
        "workflow_id": str(execution.workflow_id),
        "workflow_version": execution.workflow_version,
        "framework": execution.framework,
        "trigger_type": execution.trigger_type,
        "details": event.told,
        "links": {"execution": path, "events": f"{path}/events"},
    }
    status = _STATUS.get(event.event_type)
    return data if status is None else {**data, "status": status}
