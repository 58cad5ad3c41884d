"""Outgoing webhooks: endpoints, their secrets, what they were told, and telling it again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from temporalio.service import RPCError

from activities.policies.channels import Channel, address_problems
from activities.tools.addresses import AddressPolicy
from activities.webhooks.catalogue import CATALOGUE, TEST, event_problems
from activities.webhooks.waking import wake
from api.auth.principal import Principal
from api.schemas.webhooks import (
    DeliveryView,
    WebhookCreate,
    WebhookCreated,
    WebhookEvent,
    WebhookRotated,
    WebhookUpdate,
    WebhookView,
)
from api.services.auditing import audited
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.webhooks import WebhookRepository, payload_of
from models.tables import WebhookDelivery, WebhookEndpoint
from models.tables.base import new_id, now
from omium_core.errors import Conflict, InvalidInput, Problem

log = structlog.get_logger(__name__)

#: As Standard Webhooks has it: between 24 and 64 bytes.
_SECRET_BYTES = 32


class WebhookService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._addresses = AddressPolicy(process.settings.http_allow_private)

    @staticmethod
    def catalogue() -> list[WebhookEvent]:
        return [WebhookEvent(name=name, description=says) for name, says in sorted(CATALOGUE.items())]

    async def create(self, caller: Principal, wanted: WebhookCreate) -> WebhookCreated:
        """Raises `InvalidInput` with the field that is wrong: an address that may not be reached, an event there is not."""
        host = self._check(wanted.url, wanted.events)
        row = WebhookEndpoint(tenant_id=caller.tenant_id, host=host, secret=_new_secret(), **wanted.model_dump())
        most = self._process.settings.max_webhooks
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            if await webhooks.count() >= most:
                raise Conflict(f"There are {most} webhooks already: delete one first.")
            await webhooks.add(row)
            await audited(session, caller, "webhook.create", "webhook", row.id, new=_shown_to_auditors(row))
        return WebhookCreated(**dict(_view(row)), secret=row.secret)

    async def get(self, caller: Principal, webhook_id: UUID) -> WebhookView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return _view(await WebhookRepository(session, caller.tenant_id).get(webhook_id))

    async def list(
        self, caller: Principal, page: Page, **filters: Any
    ) -> tuple[Listing[WebhookEndpoint], list[WebhookView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await WebhookRepository(session, caller.tenant_id).list(page, **filters)
        return found, [_view(row) for row in found.rows]

    async def update(self, caller: Principal, webhook_id: UUID, wanted: WebhookUpdate) -> WebhookView:
        changes = {
            name: value
            for name, value in wanted.model_dump(exclude_unset=True).items()
            if value is not None or name == "description"
        }
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            row = await webhooks.get(webhook_id, lock=True)
            before = _shown_to_auditors(row)
            enabled = changes.pop("enabled", row.enabled)
            row.host = self._check(changes.get("url", row.url), changes.get("events", row.events))
            for name, value in changes.items():
                setattr(row, name, value)
            row.updated_at = now()
            if row.enabled and not enabled:
                await webhooks.switch_off(row, None)
            elif enabled and not row.enabled:
                row.enabled, row.disabled_reason, row.failing_since = True, None, None
            await webhooks.add(row)
            await audited(session, caller, "webhook.update", "webhook", row.id, old=before, new=_shown_to_auditors(row))
        return _view(row)

    async def delete(self, caller: Principal, webhook_id: UUID) -> None:
        """With the log of its deliveries."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            row = await webhooks.get(webhook_id, lock=True)
            await audited(session, caller, "webhook.delete", "webhook", row.id, old=_shown_to_auditors(row))
            await webhooks.delete(row)

    async def rotate(self, caller: Principal, webhook_id: UUID) -> WebhookRotated:
        """A new secret; the one before signs as well for a day, so that a receiver can change over."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            row = await webhooks.get(webhook_id, lock=True)
            until = now() + timedelta(seconds=self._process.settings.webhook_secret_overlap)
            row.previous_secret, row.previous_secret_expires_at = row.secret, until
            row.secret, row.updated_at = _new_secret(), now()
            await webhooks.add(row)
            await audited(session, caller, "webhook.rotate_secret", "webhook", row.id)
        return WebhookRotated(**dict(_view(row)), secret=row.secret, previous_secret_expires_at=until)

    async def test(self, caller: Principal, webhook_id: UUID) -> DeliveryView:
        """Queues an event of its own for the endpoint, whatever it listens to, and though it be switched off."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            endpoint = await webhooks.get(webhook_id)
            data = {"webhook_id": str(webhook_id), "message": "This is a test."}
            row = await webhooks.queue(endpoint, f"msg_{new_id().hex}", payload_of(TEST, now(), data))
            await audited(session, caller, "webhook.test", "webhook", webhook_id)
        await self._wake(caller, webhook_id)
        return delivery_view(row)

    async def deliveries(
        self, caller: Principal, webhook_id: UUID, page: Page, **filters: Any
    ) -> Listing[WebhookDelivery]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            await webhooks.get(webhook_id)
            return await webhooks.deliveries(webhook_id, page, **filters)

    async def delivery(self, caller: Principal, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return delivery_view(await WebhookRepository(session, caller.tenant_id).delivery(webhook_id, delivery_id))

    async def redeliver(self, caller: Principal, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
        """Sends it again now, with all attempts before it, whatever became of it. Its `message_id` stays the same."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            webhooks = WebhookRepository(session, caller.tenant_id)
            row = await webhooks.delivery(webhook_id, delivery_id, lock=True)
            row.status, row.attempts, row.next_attempt_at, row.delivered_at = "pending", 0, now(), None
            session.add(row)
            await audited(session, caller, "webhook.redeliver", "webhook", webhook_id)
        await self._wake(caller, webhook_id)
        return delivery_view(row)

    async def _wake(self, caller: Principal, webhook_id: UUID) -> None:
        try:
            await wake(self._process.temporal, caller.tenant_id, webhook_id)
        except (RPCError, RuntimeError) as error:
            # the workers find what waits, and wake it when Temporal answers
            log.warning("a webhook has to wait", webhook_id=str(webhook_id), error=str(error))

    def _check(self, url: str, events: Sequence[str]) -> str:
        """The host of the address. Raises `InvalidInput`."""
        problems = event_problems(events)
        host = ""
        try:
            host = Channel(type="webhook", url=url).host
        except ValidationError as error:
            problems = [Problem("url", str(error.errors()[0]["msg"])), *problems]
        else:
            found = address_problems([{"type": "webhook", "url": url}], self._addresses, "")
            problems = [*(Problem("url", problem.message) for problem in found), *problems]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}{more}", problems)
        return host


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def _view(row: WebhookEndpoint) -> WebhookView:
    return WebhookView(**row.model_dump(include=set(WebhookView.model_fields)))


def _shown_to_auditors(row: WebhookEndpoint) -> dict[str, Any]:
    """Without the address's path, which may be as good as a password."""
    return row.model_dump(mode="json", include={"host", "events", "description", "enabled", "disabled_reason"})


def delivery_view(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        webhook_id=row.endpoint_id,
        next_attempt_at=row.next_attempt_at if row.status == "pending" else None,
        **row.model_dump(include=set(DeliveryView.model_fields) - {"webhook_id", "next_attempt_at"}),
    )
