"""Sends what waits for an endpoint: signed as Standard Webhooks says, to public addresses only, with no redirect followed.

An answer of 2xx takes a message. Everything else is tried again after a pause, which grows and is never the same for two;
410 switches the endpoint off at once, and days without success do so too.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlmodel.ext.asyncio.session import AsyncSession
from standardwebhooks.webhooks import Webhook
from temporalio import activity

from activities.adapters.base import ToolFailed
from activities.heartbeat import heartbeat
from activities.tools.http_request import AddressRefused, HttpTool
from models.database import Database
from models.repositories.webhooks import WebhookRepository
from models.tables import WebhookDelivery, WebhookEndpoint
from models.tables.base import now
from models.wire_webhooks import Endpoint, Sent
from omium_core.errors import TenantErased, WebhookNotFound
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

ATTEMPTS = Counter("omium_webhook_attempts_total", "Attempts to deliver a webhook", ["outcome"])
#: How many messages of one endpoint are on their way at once: those of one subject never are.
LANES = 4
#: Seconds after which a round gives the workflow its say.
ROUND = 30.0
#: Seconds beyond the endpoint's own until another worker may take a message.
_GRACE = 10.0
_LONGEST_PAUSE = 6 * 3600.0
_GROWTH = 3
_LOGGED = 20
_GONE = 410
_ERROR_LENGTH = 500


@dataclass(frozen=True)
class Parcel:
    """One attempt, as it goes out."""

    delivery: WebhookDelivery
    url: str
    host: str
    secrets: Sequence[str]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt. `final` says that no other one can help; `gone` that the endpoint wants no more."""

    code: int | None = None
    error: str | None = None
    final: bool = False
    duration_ms: int = 0

    @property
    def taken(self) -> bool:
        return self.error is None

    @property
    def gone(self) -> bool:
        return self.code == _GONE


@dataclass
class _Busy:
    """What the lanes of one round have under way."""

    subjects: set[str] = field(default_factory=set)
    choosing: asyncio.Lock = field(default_factory=asyncio.Lock)


class WebhookActivities:
    """Belongs to one event loop."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._http = HttpTool(settings.http_allow_private)

    @activity.defn(name="deliver_webhooks")
    async def deliver(self, endpoint: Endpoint) -> Sent:
        """Sends what is due, for half a minute at most; says when the next attempt is due."""
        async with heartbeat():
            return await self.send_due(UUID(endpoint.tenant_id), UUID(endpoint.endpoint_id))

    async def send_due(self, tenant_id: UUID, endpoint_id: UUID) -> Sent:
        busy = _Busy()
        until = time.monotonic() + ROUND
        try:
            attempts = await asyncio.gather(*(self._lane(tenant_id, endpoint_id, busy, until) for _ in range(LANES)))
            due = await self._database.run(
                tenant_id, lambda session: WebhookRepository(session, tenant_id).next_due(endpoint_id)
            )
        except (TenantErased, WebhookNotFound):
            return Sent()
        if due is None:
            return Sent(sum(attempts))
        return Sent(sum(attempts), max((due - now()).total_seconds(), 0.0))

    async def _lane(self, tenant_id: UUID, endpoint_id: UUID, busy: _Busy, until: float) -> int:
        """One message after the other, none of a subject that another lane is busy with."""
        attempts = 0
        while time.monotonic() < until:
            # one lane chooses at a time, or two would take what is about the same
            async with busy.choosing:
                parcel = await self._claim(tenant_id, endpoint_id, busy.subjects)
                if parcel is None:
                    break
                subject = parcel.delivery.subject
                busy.subjects.add(subject)
            try:
                outcome = await self._attempt(parcel)
                await self._settle(tenant_id, endpoint_id, parcel.delivery, outcome)
            finally:
                busy.subjects.discard(subject)
            attempts += 1
        return attempts

    async def _claim(self, tenant_id: UUID, endpoint_id: UUID, busy: set[str]) -> Parcel | None:
        lease = self._settings.webhook_timeout + _GRACE

        async def work(session: AsyncSession) -> Parcel | None:
            webhooks = WebhookRepository(session, tenant_id)
            endpoint = await webhooks.get(endpoint_id)
            # what is about nothing in particular keeps nothing else waiting
            delivery = await webhooks.claim(endpoint_id, busy - {""}, lease)
            return None if delivery is None else Parcel(delivery, endpoint.url, endpoint.host, _secrets(endpoint))

        return await self._database.run(tenant_id, work)

    async def _attempt(self, parcel: Parcel) -> Outcome:
        delivery = parcel.delivery
        body = json.dumps(delivery.payload, separators=(",", ":")).encode()
        headers = signed(delivery.message_id, body, parcel.secrets)
        began = time.perf_counter()
        code, error, final = None, None, False
        try:
            code = await self._http.post(parcel.url, body, headers, self._settings.webhook_timeout)
            if not 200 <= code < 300:
                error = f"{parcel.host} answered {code}."
        except AddressRefused as refused:
            error, final = str(refused), True
        except ToolFailed as failed:
            error = str(failed)
        outcome = Outcome(
            code,
            None if error is None else error[:_ERROR_LENGTH],
            final or delivery.attempts >= self._settings.webhook_max_attempts,
            round((time.perf_counter() - began) * 1000),
        )
        ATTEMPTS.labels("delivered" if outcome.taken else "failed").inc()
        return outcome

    async def _settle(self, tenant_id: UUID, endpoint_id: UUID, claimed: WebhookDelivery, outcome: Outcome) -> None:
        async def work(session: AsyncSession) -> None:
            webhooks = WebhookRepository(session, tenant_id)
            endpoint = await webhooks.get(endpoint_id, lock=True)
            row = await webhooks.delivery(endpoint_id, claimed.id, lock=True)
            if row.attempts != claimed.attempts or row.status == "delivered":
                # another worker took it since, or somebody asked to send it again
                return
            self._write(row, outcome)
            session.add(row)
            await self._judge(webhooks, endpoint, outcome)

        await self._database.run(tenant_id, work)

    def _write(self, row: WebhookDelivery, outcome: Outcome) -> None:
        when = now()
        row.response_code, row.duration_ms, row.last_error = outcome.code, outcome.duration_ms, outcome.error
        entry = {
            "at": when.isoformat(),
            "attempt": row.attempts,
            "response_code": outcome.code,
            "duration_ms": outcome.duration_ms,
            "error": outcome.error,
        }
        row.attempt_log = [entry, *row.attempt_log][:_LOGGED]
        if outcome.taken:
            row.status, row.delivered_at = "delivered", when
        elif outcome.final or outcome.gone:
            row.status = "failed"
        elif row.status == "pending":
            row.next_attempt_at = when + self.pause(row.attempts)

    async def _judge(self, webhooks: WebhookRepository, endpoint: WebhookEndpoint, outcome: Outcome) -> None:
        """Keeps since when an endpoint fails, and switches it off when that is too long."""
        if outcome.taken:
            endpoint.failing_since = None
        elif endpoint.failing_since is None:
            endpoint.failing_since = now()
        webhooks.session.add(endpoint)
        if outcome.taken or not endpoint.enabled:
            return
        assert endpoint.failing_since is not None
        failing = (now() - endpoint.failing_since).total_seconds()
        reason = "gone" if outcome.gone else "failing" if failing >= self._settings.webhook_disable_after else None
        if reason is None:
            return
        await webhooks.switch_off(endpoint, reason)
        log.warning("a webhook endpoint was switched off", endpoint_id=str(endpoint.id), reason=reason)
        data = {"webhook_id": str(endpoint.id), "host": endpoint.host, "reason": reason}
        await webhooks.tell("webhook.disabled", data, subject=str(endpoint.id))

    def pause(self, attempts: int) -> timedelta:
        """The pause after so many attempts, give or take a fifth, so that those who failed together do not come together."""
        first = self._settings.webhook_retry_interval
        seconds = min(first * _GROWTH ** min(attempts - 1, 20), _LONGEST_PAUSE)
        return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing


def signed(message_id: str, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of one attempt: a signature for each secret, so that a receiver may know either."""
    when = datetime.now(UTC)
    signatures = [Webhook(secret).sign(message_id, when, body.decode()) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "omium",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _secrets(endpoint: WebhookEndpoint) -> list[str]:
    secrets = [endpoint.secret]
    ends = endpoint.previous_secret_expires_at
    if endpoint.previous_secret is not None and ends is not None and ends > now():
        secrets.append(endpoint.previous_secret)
    return secrets
