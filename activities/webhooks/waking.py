"""Wakes the workflow that sends to an endpoint, or starts it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from temporalio.client import Client
from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes

from models.wire_webhooks import Endpoint
from omium_core import temporal


async def wake(client: Client, tenant_id: UUID, endpoint_id: UUID, *, patience: float = 2.0) -> None:
    """Says that something waits. Raises `RPCError` or `RuntimeError` when Temporal does not hear it in time."""
    tenant = str(tenant_id)
    await client.start_workflow(
        temporal.WEBHOOK_WORKFLOW,
        Endpoint(tenant, str(endpoint_id)),
        id=temporal.webhook_id(tenant_id, endpoint_id),
        task_queue=temporal.maintenance_queue(),
        start_signal="wake",
        search_attributes=TypedSearchAttributes([SearchAttributePair(temporal.TENANT, tenant)]),
        static_summary=temporal.summary("webhook endpoint"),
        priority=Priority(fairness_key=tenant[:64]),
        rpc_timeout=timedelta(seconds=patience),
    )
