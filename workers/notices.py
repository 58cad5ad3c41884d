"""Tells people of their money: queues webhooks and sends mails for what the ledger and payments noted. Runs in every worker.

PostgreSQL hands each notice to one of them. A webhook is queued once; a mail is sent by whoever claimed it, and again by
another when that one died before it said so.
"""

from __future__ import annotations

import time
from uuid import UUID

import aiosmtplib
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.billing_notices import letter, queue_notices
from models.database import Database
from models.repositories.notices import (
    NoticeRepository,
    tenants_to_mail,
    tenants_to_tell,
    tenants_without_alert,
)
from omium_core.credits import to_micro
from omium_core.errors import NotFound
from omium_core.mail import Mail, mail_sender
from omium_core.settings import Settings
from workers.repeating import repeat

log = structlog.get_logger(__name__)

EVERY = 1.0
#: How often it is seen to that every balance is watched.
WATCH_EVERY = 5.0
_BATCH = 100
#: Seconds after which a mail that was not sent is tried again, and how often.
_LEASE = 60.0
_MOST_ATTEMPTS = 5


class Notices:
    def __init__(self, database: Database, settings: Settings) -> None:
        """Raises `ConfigurationError` when OMIUM_MAIL_FROM is no address."""
        self._database = database
        self._low = to_micro(settings.low_credits)
        self._mail = mail_sender(settings)
        self._watch_next = 0.0

    async def run(self) -> None:
        await repeat(self.once, every=EVERY, waits="notices")

    async def once(self) -> None:
        """Queues what was noted, and sends what is due."""
        async with self._database.system() as session:
            to_tell = await tenants_to_tell(session)
        for tenant_id in to_tell:
            await self._queue(tenant_id)
        async with self._database.system() as session:
            to_mail = await tenants_to_mail(session)
        for tenant_id in to_mail:
            while await self._send_next(tenant_id):
                pass
        if time.monotonic() >= self._watch_next:
            await self._watch_all()
            self._watch_next = time.monotonic() + WATCH_EVERY

    async def _watch_all(self) -> None:
        async with self._database.system() as session:
            unwatched = await tenants_without_alert(session)
        for tenant_id in unwatched:
            await self._watch(tenant_id)

    async def _watch(self, tenant_id: UUID) -> None:
        try:
            async with self._database.transaction(tenant_id) as session:
                await NoticeRepository(session, tenant_id).warn_by_default(self._low)
        except NotFound as error:
            log.info("a balance need not be watched", tenant_id=str(tenant_id), reason=error.message)

    async def _queue(self, tenant_id: UUID) -> None:
        count = _BATCH
        try:
            while count == _BATCH:
                async with self._database.transaction(tenant_id) as session:
                    count = await queue_notices(NoticeRepository(session, tenant_id), _BATCH)
        except NotFound as error:
            log.info("nobody need be told", tenant_id=str(tenant_id), reason=error.message)

    async def _send_next(self, tenant_id: UUID) -> bool:
        """Sends the next mail of a tenant that is due; whether there was one."""
        try:
            async with self._database.transaction(tenant_id) as session:
                notices = NoticeRepository(session, tenant_id)
                notice = await notices.claim_mail(_LEASE)
                receivers = [] if notice is None else await notices.receivers()
        except NotFound:
            return False
        if notice is None:
            return False
        subject, text = letter(notice)
        try:
            for receiver in receivers:
                await self._mail.send(Mail(receiver, subject, text))
        except (OSError, aiosmtplib.SMTPException, ValueError) as error:
            log.warning("a notice was not mailed", kind=notice.kind, attempts=notice.mail_attempts, error=str(error))
            if notice.mail_attempts < _MOST_ATTEMPTS:
                return True

        async def done(session: AsyncSession) -> None:
            await NoticeRepository(session, tenant_id).mailed(notice.id)

        await self._database.run(tenant_id, done)
        return True
