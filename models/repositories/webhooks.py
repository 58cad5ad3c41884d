"""A tenant's webhook endpoints and what they were told; for the workers, those of all tenants that something waits for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import String, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.tables import WebhookDelivery, WebhookEndpoint
from models.tables.base import new_id, now
from omium_core.errors import WebhookDeliveryNotFound, WebhookNotFound

#: What an endpoint's waiting deliveries say when it is switched off.
SWITCHED_OFF = "The endpoint was switched off."


def wants(events: Collection[str], event_type: str) -> bool:
    """Whether a list of names, with `execution.*` for all of a kind and `*` for all, has an event."""
    return not {"*", event_type, f"{event_type.partition('.')[0]}.*"}.isdisjoint(events)


class WebhookRepository(Repository):
    async def add(self, endpoint: WebhookEndpoint) -> None:
        self.session.add(endpoint)
        await self.session.flush()

    async def get(self, endpoint_id: UUID, *, lock: bool = False) -> WebhookEndpoint:
        query = select(WebhookEndpoint).where(
            col(WebhookEndpoint.tenant_id) == self.tenant_id, col(WebhookEndpoint.id) == endpoint_id
        )
        found: WebhookEndpoint | None = (
            await self.session.execute(query.with_for_update() if lock else query)
        ).scalar_one_or_none()
        if found is None:
            raise WebhookNotFound(f"Webhook {endpoint_id} does not exist.", webhook_id=str(endpoint_id))
        return found

    async def list(self, page: Page, *, enabled: bool | None = None) -> Listing[WebhookEndpoint]:
        query = select(WebhookEndpoint).where(col(WebhookEndpoint.tenant_id) == self.tenant_id)
        if enabled is not None:
            query = query.where(col(WebhookEndpoint.enabled) == enabled)
        return await self._page(query, WebhookEndpoint, page)

    async def count(self) -> int:
        query = select(func.count()).where(col(WebhookEndpoint.tenant_id) == self.tenant_id)
        return int((await self.session.execute(query)).scalar_one())

    async def delete(self, endpoint: WebhookEndpoint) -> None:
        """With all that it was told."""
        await self.session.delete(endpoint)
        await self.session.flush()

    async def listening(self) -> Sequence[WebhookEndpoint]:
        """The endpoints that are switched on."""
        query = select(WebhookEndpoint).where(
            col(WebhookEndpoint.tenant_id) == self.tenant_id, col(WebhookEndpoint.enabled)
        )
        return (await self.session.execute(query)).scalars().all()

    async def tell(
        self,
        event_type: str,
        data: Mapping[str, Any],
        *,
        at: datetime | None = None,
        message_id: str | None = None,
        subject: str = "",
        endpoints: Sequence[WebhookEndpoint] | None = None,
    ) -> None:
        """Queues an event for each endpoint that wants it, once for each `message_id`.

        In the transaction in which it happens: what is rolled back is not told. `endpoints` are those listening, where the
        caller knows them already.
        """
        known = await self.listening() if endpoints is None else endpoints
        wanting = [endpoint for endpoint in known if wants(endpoint.events, event_type)]
        message_id = message_id or f"msg_{new_id().hex}"
        when = at or now()
        for endpoint in wanting:
            await self.queue(endpoint, message_id, payload_of(event_type, when, data), subject)

    async def queue(
        self, endpoint: WebhookEndpoint, message_id: str, payload: dict[str, Any], subject: str = ""
    ) -> WebhookDelivery:
        """One message for one endpoint; nothing where it has it already."""
        row = WebhookDelivery(
            tenant_id=self.tenant_id,
            endpoint_id=endpoint.id,
            message_id=message_id,
            event_type=payload["type"],
            subject=subject,
            payload=payload,
        )
        values = {column: getattr(row, column) for column in WebhookDelivery.model_fields}
        await self.session.execute(insert(WebhookDelivery).values(values).on_conflict_do_nothing())
        return row

    async def deliveries(
        self, endpoint_id: UUID, page: Page, *, status: str | None = None, event_type: str | None = None
    ) -> Listing[WebhookDelivery]:
        query = select(WebhookDelivery).where(
            col(WebhookDelivery.tenant_id) == self.tenant_id, col(WebhookDelivery.endpoint_id) == endpoint_id
        )
        if status is not None:
            query = query.where(col(WebhookDelivery.status) == status)
        if event_type is not None:
            query = query.where(col(WebhookDelivery.event_type) == event_type)
        return await self._page(query, WebhookDelivery, page)

    async def delivery(self, endpoint_id: UUID, delivery_id: UUID, *, lock: bool = False) -> WebhookDelivery:
        query = select(WebhookDelivery).where(
            col(WebhookDelivery.tenant_id) == self.tenant_id,
            col(WebhookDelivery.endpoint_id) == endpoint_id,
            col(WebhookDelivery.id) == delivery_id,
        )
        found: WebhookDelivery | None = (
            await self.session.execute(query.with_for_update() if lock else query)
        ).scalar_one_or_none()
        if found is None:
            raise WebhookDeliveryNotFound(f"Delivery {delivery_id} does not exist.", delivery_id=str(delivery_id))
        return found

    async def switch_off(self, endpoint: WebhookEndpoint, reason: str | None) -> None:
        """Nothing is queued for it any more, and what waits is not sent."""
        endpoint.enabled, endpoint.disabled_reason, endpoint.updated_at = False, reason, now()
        self.session.add(endpoint)
        waiting = update(WebhookDelivery).where(
            col(WebhookDelivery.endpoint_id) == endpoint.id, col(WebhookDelivery.status) == "pending"
        )
        await self.session.execute(waiting.values(status="failed", last_error=SWITCHED_OFF))

    async def claim(self, endpoint_id: UUID, busy: Collection[str], lease: float) -> WebhookDelivery | None:
        """The oldest delivery that is due, of a subject that nobody is busy with. Nobody else takes it for `lease` seconds."""
        query = (
            select(WebhookDelivery)
            .where(
                col(WebhookDelivery.tenant_id) == self.tenant_id,
                col(WebhookDelivery.endpoint_id) == endpoint_id,
                col(WebhookDelivery.status) == "pending",
                col(WebhookDelivery.next_attempt_at) <= now(),
            )
            .order_by(col(WebhookDelivery.id))
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if busy:
            query = query.where(col(WebhookDelivery.subject).not_in(busy))
        row: WebhookDelivery | None = (await self.session.execute(query)).scalar_one_or_none()
        if row is not None:
            row.attempts += 1
            row.next_attempt_at = now() + timedelta(seconds=lease)
            self.session.add(row)
        return row

    async def next_due(self, endpoint_id: UUID) -> datetime | None:
        """When the next attempt is due; None when nothing waits."""
        query = select(func.min(col(WebhookDelivery.next_attempt_at))).where(
            col(WebhookDelivery.tenant_id) == self.tenant_id,
            col(WebhookDelivery.endpoint_id) == endpoint_id,
            col(WebhookDelivery.status) == "pending",
        )
        found: datetime | None = (await self.session.execute(query)).scalar_one()
        return found


def payload_of(event_type: str, at: datetime, data: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a message as Standard Webhooks has it."""
    return {"type": event_type, "timestamp": at.isoformat(), "data": dict(data)}


async def endpoints_due(session: AsyncSession, limit: int = 1000) -> list[tuple[UUID, UUID, UUID]]:
    """Tenants, endpoints and the newest delivery of each endpoint, for all endpoints with something to be sent now."""
    tenant, endpoint = col(WebhookDelivery.tenant_id), col(WebhookDelivery.endpoint_id)
    # PostgreSQL knows no greatest of ids; as texts they sort alike
    query = (
        select(tenant, endpoint, func.max(cast(col(WebhookDelivery.id), String)))
        .where(col(WebhookDelivery.status) == "pending", col(WebhookDelivery.next_attempt_at) <= now())
        .group_by(tenant, endpoint)
        .limit(limit)
    )
    return [(row[0], row[1], UUID(row[2])) for row in await session.execute(query)]
