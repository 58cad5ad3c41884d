"""The outbox: a tenant's notifications, and for the workers those of all tenants."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.tables import Execution, ExecutionEvent, ExecutionPolicy, ExecutionPolicyVersion, Notification
from models.tables import WorkflowVersion as Version
from models.tables.base import now
from omium_core.errors import NotificationAlreadySent, NotificationNotFound


class NotificationRepository(Repository):
    async def list(
        self, page: Page, *, status: str | None = None, execution_id: UUID | None = None
    ) -> Listing[Notification]:
        query = select(Notification).where(col(Notification.tenant_id) == self.tenant_id)
        if status is not None:
            query = query.where(col(Notification.status) == status)
        if execution_id is not None:
            query = query.where(col(Notification.execution_id) == execution_id)
        return await self._page(query, Notification, page)

    async def retry(self, notification_id: UUID) -> Notification:
        """Makes it due now, with all its attempts before it. `NotificationNotFound`, `NotificationAlreadySent`."""
        query = select(Notification).where(
            col(Notification.tenant_id) == self.tenant_id, col(Notification.id) == notification_id
        )
        row: Notification | None = (await self.session.execute(query.with_for_update())).scalar_one_or_none()
        if row is None:
            raise NotificationNotFound(f"Notification {notification_id} does not exist.")
        if row.status == "sent":
            raise NotificationAlreadySent(f"Notification {notification_id} was sent.")
        row.status, row.attempts, row.next_attempt_at = "pending", 0, now()
        self.session.add(row)
        return row


async def tenants_marked(session: AsyncSession) -> list[UUID]:
    """The tenants that have events which nobody has queued yet."""
    query = select(col(ExecutionEvent.tenant_id)).where(col(ExecutionEvent.notify)).distinct()
    return list((await session.execute(query)).scalars())


async def take_marked(session: AsyncSession, limit: int) -> list[tuple[ExecutionEvent, Execution]]:
    """A tenant's oldest events that nobody has queued yet, with their executions. The mark is gone with this transaction."""
    query = (
        select(ExecutionEvent, Execution)
        .join(Execution, col(Execution.id) == col(ExecutionEvent.execution_id))
        .where(col(ExecutionEvent.notify))
        .order_by(col(ExecutionEvent.id))
        .limit(limit)
        .with_for_update(skip_locked=True, of=ExecutionEvent)
    )
    found = [(row[0], row[1]) for row in await session.execute(query)]
    if found:
        taken = update(ExecutionEvent).where(col(ExecutionEvent.id).in_([event.id for event, _ in found]))
        await session.execute(taken.values(notify=False))
    return found


async def notification_configs(
    session: AsyncSession, policies: Collection[tuple[UUID, int]]
) -> list[tuple[UUID, int, Any]]:
    """Id, version and settings of those among these versions of policies that are of notifications."""
    version = ExecutionPolicyVersion
    query = (
        select(col(version.policy_id), col(version.version), col(version.policy_config))
        .join(ExecutionPolicy, col(ExecutionPolicy.id) == col(version.policy_id))
        .where(
            col(ExecutionPolicy.policy_type) == "notification",
            tuple_(col(version.policy_id), col(version.version)).in_(policies),
        )
        .order_by(col(version.policy_id))
    )
    return [(row[0], row[1], row[2]) for row in await session.execute(query)]


async def defined_config(session: AsyncSession, version_id: UUID) -> Any:
    """What a definition says of notifications; None if it says nothing."""
    query = select(col(Version.workflow_definition)).where(col(Version.id) == version_id)
    definition: Any = (await session.execute(query)).scalar_one_or_none() or {}
    policies = definition.get("policies")
    return policies.get("notification") if isinstance(policies, dict) else None


async def receivers_due(
    session: AsyncSession, busy: Collection[tuple[UUID, str]], limit: int
) -> list[tuple[UUID, str]]:
    """Tenants and hosts for which something is to be sent, but those that are `busy`."""
    receiver = (col(Notification.tenant_id), col(Notification.target))
    query = select(*receiver).where(*_due()).distinct().limit(limit)
    if busy:
        query = query.where(tuple_(*receiver).not_in(busy))
    return [(row[0], row[1]) for row in await session.execute(query)]


async def claim(session: AsyncSession, receiver: tuple[UUID, str], lease: float) -> tuple[Notification, UUID] | None:
    """The oldest notification due for a receiver, with the version of the workflow. Nobody else takes it for `lease` seconds."""
    query = (
        select(Notification, col(Execution.version_id))
        .join(Execution, col(Execution.id) == col(Notification.execution_id))
        .where(*_due(), col(Notification.tenant_id) == receiver[0], col(Notification.target) == receiver[1])
        .order_by(col(Notification.id))
        .limit(1)
        .with_for_update(skip_locked=True, of=Notification)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        return None
    row: Notification = found[0]
    row.attempts += 1
    row.next_attempt_at = now() + timedelta(seconds=lease)
    session.add(row)
    return row, found[1]


async def settle(session: AsyncSession, claimed: Notification, **values: Any) -> None:
    """What became of an attempt, unless somebody else has taken the notification since or it is done with."""
    await session.execute(
        update(Notification)
        .where(
            col(Notification.id) == claimed.id,
            col(Notification.status) == "pending",
            col(Notification.attempts) == claimed.attempts,
        )
        .values(**values)
    )


def _due() -> tuple[Any, ...]:
    return col(Notification.status) == "pending", col(Notification.next_attempt_at) <= now()
