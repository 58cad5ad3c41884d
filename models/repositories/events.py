"""The timeline of an execution."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models.repositories.base import Repository
from models.tables import ExecutionEvent


class EventRepository(Repository):
    async def list(
        self, execution_id: UUID, *, after: UUID | None = None, limit: int = 200
    ) -> Sequence[ExecutionEvent]:
        """Events in the order they happened, those after `after` only."""
        query = select(ExecutionEvent).where(
            col(ExecutionEvent.tenant_id) == self.tenant_id, col(ExecutionEvent.execution_id) == execution_id
        )
        if after is not None:
            query = query.where(col(ExecutionEvent.id) > after)
        return (await self.session.execute(query.order_by(col(ExecutionEvent.id)).limit(limit))).scalars().all()
