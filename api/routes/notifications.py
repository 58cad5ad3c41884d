"""`/notifications`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth.principal import Principal
from api.deps import Notifications, requires
from api.schemas.common import PageQuery, listing
from api.schemas.notifications import NotificationList, NotificationStatus, RetryAnswer
from api.services.notifications import view

router = APIRouter(prefix="/notifications", tags=["notifications"])


@router.get("", response_model=NotificationList)
async def list_all(
    notifications: Notifications,
    caller: Annotated[Principal, requires("notification:read")],
    page: Annotated[PageQuery, Depends()],
    status: NotificationStatus | None = None,
    execution_id: UUID | None = None,
) -> dict[str, Any]:
    found = await notifications.list(caller, page.as_page(), status=status, execution_id=execution_id)
    return listing("notifications", [view(row) for row in found.rows], found, page)


@router.post("/{notification_id}/retry", response_model=RetryAnswer)
async def retry(
    notification_id: UUID, notifications: Notifications, caller: Annotated[Principal, requires("notification:retry")]
) -> RetryAnswer:
    """Sends it again, with all attempts before it. Its id stays the same."""
    row = await notifications.retry(caller, notification_id)
    return RetryAnswer(notification=view(row), message="The notification is sent again.")
