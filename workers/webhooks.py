"""Finds endpoints that something waits for and wakes what sends to them. Runs in every worker, as the notifier does."""

from __future__ import annotations

import time
from uuid import UUID

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.webhooks.waking import wake
from models.database import Database
from models.repositories.webhooks import endpoints_due

log = structlog.get_logger(__name__)

#: Seconds until an endpoint is woken again for what it was woken for before.
AGAIN = 10.0


class Waker:
    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        #: For what each endpoint was woken last, and when.
        self._woken: dict[UUID, tuple[UUID, float]] = {}

    async def once(self) -> None:
        async with self._database.system() as session:
            due = await endpoints_due(session)
        # those with nothing to send any more are forgotten
        self._woken = {endpoint: self._woken[endpoint] for _, endpoint, _ in due if endpoint in self._woken}
        for tenant_id, endpoint_id, newest in due:
            seen, at = self._woken.get(endpoint_id, (None, 0.0))
            if seen == newest and time.monotonic() - at < AGAIN:
                continue
            try:
                await wake(self._client, tenant_id, endpoint_id)
            except (RPCError, RuntimeError) as error:
                log.warning("webhooks have to wait", error=str(error))
                return
            self._woken[endpoint_id] = (newest, time.monotonic())
