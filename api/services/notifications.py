"""Notifications: what was told, what could not be, and sending it again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.notifications import DEFINITION
from api.auth.principal import Principal
from api.schemas.notifications import NotificationView
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.notifications import NotificationRepository
from models.tables import Notification


class NotificationService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def list(self, caller: Principal, page: Page, **filters: Any) -> Listing[Notification]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await NotificationRepository(session, caller.tenant_id).list(page, **filters)

    async def retry(self, caller: Principal, notification_id: UUID) -> Notification:
        """Raises `NotificationNotFound`, `NotificationAlreadySent`."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await NotificationRepository(session, caller.tenant_id).retry(notification_id)


def view(row: Notification) -> NotificationView:
    of_policy = row.source != DEFINITION
    return NotificationView(
        **row.model_dump(exclude={"next_attempt_at"}),
        policy_id=UUID(row.source) if of_policy else None,
        policy_version=row.source_version if of_policy else None,
        next_attempt_at=row.next_attempt_at if row.status == "pending" else None,
    )
