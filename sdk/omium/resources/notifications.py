"""`client.notifications`: what was told of runs, and to whom."""

from __future__ import annotations

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import NotificationEnvelope, NotificationPage


class Notifications(Resource[ClientT]):
    """One for each event and channel of a notification policy. They are sent by the workers."""

    @operation
    def list(
        self,
        status: str | None = None,
        execution_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[NotificationPage]:
        """One page of notifications, the newest first; `status` is pending, sent, failed or dropped."""
        query = {
            "status": status,
            "execution_id": execution_id,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "notifications", query=query)

    @operation
    def retry(self, notification_id: str) -> Request[NotificationEnvelope]:
        """Sends one again that failed or was dropped, or at once one that waits.

        Raises:
            Conflict: it was sent.
        """
        return Request("POST", endpoint("notifications", notification_id, "retry"))
