"""Sends notifications. Runs in every worker; PostgreSQL hands each event and each notification to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import ToolFailed
from activities.notifications import Sender, channel_of, queue_marked
from activities.policies.channels import Channel
from activities.tools.http_request import AddressRefused
from models.database import Database, is_database_away
from models.repositories.notifications import claim, receivers_due, settle, tenants_marked
from models.tables import Notification
from models.tables.base import now
from omium_core.errors import TenantErased
from omium_core.settings import Settings
from workers.webhooks import Waker

log = structlog.get_logger(__name__)

EVERY = 1.0
#: Seconds until the next look after an error that nobody expected.
AFTER_AN_ERROR = 30.0
#: How many receivers one worker sends to at once.
AT_ONCE = 50
_BATCH = 100
_LONGEST_PAUSE = 3600.0
#: Seconds beyond the receiver's own until another worker may take a notification.
_GRACE = 5.0
Receiver = tuple[UUID, str]


class Notifier:
    def __init__(self, database: Database, settings: Settings, waker: Waker | None = None) -> None:
        self._database = database
        self._settings = settings
        self._waker = waker
        self._sender = Sender(settings.http_allow_private, settings.notification_timeout)
        self._sending: dict[Receiver, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever, every second. What goes wrong here ends no run: it is logged, and tried again."""
        try:
            while True:
                went_well = await self._safely(self.once())
                await asyncio.sleep(EVERY if went_well else AFTER_AN_ERROR)
        finally:
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    async def once(self) -> None:
        """Queues what has happened, and begins to send what is due."""
        async with self._database.system() as db:
            marked = await tenants_marked(db)
        for tenant_id in marked:
            full = True
            while full:
                full = await self._queue(tenant_id)
        if self._waker is not None:
            # endpoints of webhooks hear of the same events, sent by a workflow each
            await self._waker.once()
        self._sending = {receiver: task for receiver, task in self._sending.items() if not task.done()}
        async with self._database.system() as db:
            due = await receivers_due(db, list(self._sending), AT_ONCE - len(self._sending))
        for tenant_id, target in due:
            receiver = (tenant_id, target)
            # one that is slow or away keeps nobody else waiting
            self._sending[receiver] = asyncio.create_task(self._serve(receiver))

    async def _queue(self, tenant_id: UUID) -> bool:
        """Queues some of what a tenant's runs tell; whether there is more."""
        try:
            async with self._database.transaction(tenant_id) as db:
                return await queue_marked(db, _BATCH) == _BATCH
        except TenantErased:
            return False

    async def _serve(self, receiver: Receiver) -> None:
        await self._safely(self._send_all(receiver))

    async def _send_all(self, receiver: Receiver) -> None:
        """One after the other, so that a receiver hears of events in their order as long as it answers."""
        while (claimed := await self._claim(receiver)) is not None:
            notification, channel = claimed
            values = await self._attempt(notification, channel)

            async def keep(db: AsyncSession, row: Notification = notification, done: dict[str, Any] = values) -> None:
                await settle(db, row, **done)

            await self._database.run(receiver[0], keep)

    async def _claim(self, receiver: Receiver) -> tuple[Notification, Channel | None] | None:
        async with self._database.transaction(receiver[0]) as db:
            found = await claim(db, receiver, self._settings.notification_timeout + _GRACE)
            return None if found is None else (found[0], await channel_of(db, *found))

    async def _attempt(self, notification: Notification, channel: Channel | None) -> dict[str, Any]:
        """Sends it, and returns what its row says from now on."""
        if channel is None:
            return {"status": "dropped", "last_error": "The policy that named the channel is gone."}
        try:
            await self._sender.send(notification, channel)
        except AddressRefused as error:
            return {"status": "dropped", "last_error": str(error)[:500]}
        except ToolFailed as error:
            if notification.attempts >= self._settings.notification_max_attempts:
                log.warning("notification failed", id=str(notification.id), attempts=notification.attempts)
                return {"status": "failed", "last_error": str(error)[:500]}
            return {"last_error": str(error)[:500], "next_attempt_at": now() + self._pause(notification.attempts)}
        return {"status": "sent", "sent_at": now(), "last_error": None}

    def _pause(self, attempts: int) -> timedelta:
        first = self._settings.notification_retry_interval
        return timedelta(seconds=min(first * 2 ** min(attempts - 1, 30), _LONGEST_PAUSE))

    @staticmethod
    async def _safely(work: Awaitable[None]) -> bool:
        try:
            await work
        except Exception as error:
            if not is_database_away(error):
                log.exception("notifications have to wait")
                return False
            log.warning("notifications have to wait", error=str(error))
        return True
