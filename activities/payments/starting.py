"""Starts the workflow that works off an event of Stripe; one for each event, whoever starts it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from omium_core import temporal

log = structlog.get_logger(__name__)


async def start(client: Client, event_id: str, *, patience: float = 2.0) -> None:
    """Raises `RPCError` or `RuntimeError` when Temporal does not hear it in time."""
    await client.start_workflow(
        temporal.STRIPE_EVENT_WORKFLOW,
        event_id,
        id=temporal.stripe_event_id(event_id),
        task_queue=temporal.maintenance_queue(),
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=temporal.summary("event of Stripe"),
        rpc_timeout=timedelta(seconds=patience),
    )


class Starter:
    """Starts workflows behind the back of who stored the event: the answer to Stripe does not wait for Temporal."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._starting: set[asyncio.Task[None]] = set()

    def soon(self, event_id: str) -> None:
        task = asyncio.create_task(self._start(event_id))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, event_id: str) -> None:
        try:
            await start(self._client, event_id)
        except (RPCError, RuntimeError) as error:
            # the workers look for events that nobody started
            log.warning("an event of Stripe waits for the workers", event_id=event_id, error=str(error))

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
