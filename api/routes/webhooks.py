"""`/webhooks`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from api.auth.principal import Principal
from api.deps import Webhooks, requires
from api.schemas.common import PageQuery, Text, listing
from api.schemas.webhooks import (
    DeliveryAnswer,
    DeliveryList,
    DeliveryStatus,
    DeliveryView,
    WebhookCreate,
    WebhookCreated,
    WebhookEvents,
    WebhookList,
    WebhookRotated,
    WebhookUpdate,
    WebhookView,
)
from api.services.webhooks import delivery_view

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post("", status_code=201, response_model=WebhookCreated)
async def create(
    body: WebhookCreate, webhooks: Webhooks, caller: Annotated[Principal, requires("webhook:create")]
) -> WebhookCreated:
    """Tells an address of events from now on. The answer holds the secret that signs them, this once."""
    return await webhooks.create(caller, body)


@router.get("", response_model=WebhookList)
async def list_all(
    webhooks: Webhooks,
    caller: Annotated[Principal, requires("webhook:read")],
    page: Annotated[PageQuery, Depends()],
    enabled: bool | None = None,
) -> dict[str, Any]:
    found, shown = await webhooks.list(caller, page.as_page(), enabled=enabled)
    return listing("webhooks", shown, found, page)


@router.get("/events", response_model=WebhookEvents)
async def events(webhooks: Webhooks, caller: Annotated[Principal, requires("webhook:read")]) -> WebhookEvents:
    """The events that an endpoint can be told of."""
    return WebhookEvents(events=webhooks.catalogue())


@router.get("/{webhook_id}", response_model=WebhookView)
async def get(
    webhook_id: UUID, webhooks: Webhooks, caller: Annotated[Principal, requires("webhook:read")]
) -> WebhookView:
    return await webhooks.get(caller, webhook_id)


@router.put("/{webhook_id}", response_model=WebhookView)
@router.patch("/{webhook_id}", response_model=WebhookView)
async def update(
    webhook_id: UUID,
    body: WebhookUpdate,
    webhooks: Webhooks,
    caller: Annotated[Principal, requires("webhook:update")],
) -> WebhookView:
    """Changes what is named. Switched off, it hears nothing: what waited for it counts as failed."""
    return await webhooks.update(caller, webhook_id, body)


@router.delete("/{webhook_id}", status_code=204)
async def delete(
    webhook_id: UUID, webhooks: Webhooks, caller: Annotated[Principal, requires("webhook:delete")]
) -> Response:
    """With the log of its deliveries."""
    await webhooks.delete(caller, webhook_id)
    return Response(status_code=204)


@router.post("/{webhook_id}/rotate-secret", response_model=WebhookRotated)
async def rotate_secret(
    webhook_id: UUID, webhooks: Webhooks, caller: Annotated[Principal, requires("webhook:update")]
) -> WebhookRotated:
    """A new secret, shown this once. The one before signs as well for a while."""
    return await webhooks.rotate(caller, webhook_id)


@router.post("/{webhook_id}/test", status_code=202, response_model=DeliveryAnswer)
async def test(
    webhook_id: UUID, webhooks: Webhooks, caller: Annotated[Principal, requires("webhook:retry")]
) -> DeliveryAnswer:
    """Sends the event `webhook.test`, whatever the endpoint listens to."""
    return DeliveryAnswer(delivery=await webhooks.test(caller, webhook_id), message="The test is on its way.")


@router.get("/{webhook_id}/deliveries", response_model=DeliveryList)
async def deliveries(
    webhook_id: UUID,
    webhooks: Webhooks,
    caller: Annotated[Principal, requires("webhook:read")],
    page: Annotated[PageQuery, Depends()],
    status: DeliveryStatus | None = None,
    event_type: Annotated[Text | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """What it was told, the newest first."""
    found = await webhooks.deliveries(caller, webhook_id, page.as_page(), status=status, event_type=event_type)
    return listing("deliveries", [delivery_view(row) for row in found.rows], found, page)


@router.get("/{webhook_id}/deliveries/{delivery_id}", response_model=DeliveryView)
async def delivery(
    webhook_id: UUID,
    delivery_id: UUID,
    webhooks: Webhooks,
    caller: Annotated[Principal, requires("webhook:read")],
) -> DeliveryView:
    return await webhooks.delivery(caller, webhook_id, delivery_id)


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, response_model=DeliveryAnswer)
async def redeliver(
    webhook_id: UUID,
    delivery_id: UUID,
    webhooks: Webhooks,
    caller: Annotated[Principal, requires("webhook:retry")],
) -> DeliveryAnswer:
    """Sends it again now, with all attempts before it. Its `message_id` stays the same."""
    again = await webhooks.redeliver(caller, webhook_id, delivery_id)
    return DeliveryAnswer(delivery=again, message="It is sent again.")
