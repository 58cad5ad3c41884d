"""`client.webhooks`: addresses that are told of what happens."""

from __future__ import annotations

from collections.abc import Sequence

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import (
    Webhook,
    WebhookDelivery,
    WebhookDeliveryEnvelope,
    WebhookDeliveryPage,
    WebhookEvents,
    WebhookPage,
)


class Webhooks(Resource[ClientT]):
    """Endpoints of a tenant. What is sent is signed as Standard Webhooks says."""

    @operation
    def create(
        self,
        url: str,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Request[Webhook]:
        """Tells `url` of events: their names, `execution.*` for all of a kind, `*` (or None) for all.

        The answer's `secret` is shown this once.

        Raises:
            InvalidInput: `problems` names each field that is wrong.
        """
        body = {"url": url, "events": events, "description": description, "enabled": enabled}
        return Request("POST", "webhooks", body=body)

    @operation
    def list(
        self,
        enabled: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[WebhookPage]:
        """One page of endpoints, the newest first."""
        query = {"enabled": enabled, "limit": limit, "cursor": cursor, "page": page, "per_page": per_page}
        return Request("GET", "webhooks", query=query)

    @operation
    def events(self) -> Request[WebhookEvents]:
        """The events that an endpoint can be told of."""
        return Request("GET", "webhooks/events")

    @operation
    def get(self, webhook_id: str) -> Request[Webhook]:
        """An endpoint, without its secret."""
        return Request("GET", endpoint("webhooks", webhook_id))

    @operation
    def update(
        self,
        webhook_id: str,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Request[Webhook]:
        """Changes what is given; `enabled` switches one on again that was switched off."""
        body = {"url": url, "events": events, "description": description, "enabled": enabled}
        return Request("PATCH", endpoint("webhooks", webhook_id), body=body)

    @operation
    def delete(self, webhook_id: str) -> Request[None]:
        """With the log of its deliveries."""
        return Request("DELETE", endpoint("webhooks", webhook_id))

    @operation
    def rotate_secret(self, webhook_id: str) -> Request[Webhook]:
        """A new secret, shown this once. The one before signs as well until `previous_secret_expires_at`."""
        return Request("POST", endpoint("webhooks", webhook_id, "rotate-secret"))

    @operation
    def test(self, webhook_id: str) -> Request[WebhookDeliveryEnvelope]:
        """Sends the event `webhook.test`, whatever the endpoint listens to."""
        return Request("POST", endpoint("webhooks", webhook_id, "test"))

    @operation
    def deliveries(
        self,
        webhook_id: str,
        status: str | None = None,
        event_type: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[WebhookDeliveryPage]:
        """One page of what it was told, the newest first; `status` is pending, delivered or failed."""
        query = {
            "status": status,
            "event_type": event_type,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", endpoint("webhooks", webhook_id, "deliveries"), query=query)

    @operation
    def delivery(self, webhook_id: str, delivery_id: str) -> Request[WebhookDelivery]:
        """One of them, with all its attempts."""
        return Request("GET", endpoint("webhooks", webhook_id, "deliveries", delivery_id))

    @operation
    def redeliver(self, webhook_id: str, delivery_id: str) -> Request[WebhookDeliveryEnvelope]:
        """Sends it again now, with all attempts before it. Its `message_id` stays the same."""
        return Request("POST", endpoint("webhooks", webhook_id, "deliveries", delivery_id, "redeliver"))
