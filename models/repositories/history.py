"""What an execution went through, as people read it: the steps of all lineages, rollbacks, effects, forks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Agent, Effect, Execution, Rollback


class HistoryRepository(Repository):
    async def agents(self, execution_id: UUID) -> Sequence[Agent]:
        """The steps of all lineages, in order."""
        query = (
            select(Agent)
            .where(col(Agent.tenant_id) == self.tenant_id, col(Agent.execution_id) == execution_id)
            .order_by(col(Agent.lineage), col(Agent.step_index))
        )
        return (await self.session.execute(query)).scalars().all()

    async def forks(self, execution_id: UUID) -> Sequence[Execution]:
        """The executions that were forked from this one, the oldest first."""
        query = (
            select(Execution)
            .where(col(Execution.tenant_id) == self.tenant_id, col(Execution.forked_from) == execution_id)
            .order_by(col(Execution.id))
        )
        return (await self.session.execute(query)).scalars().all()

    async def rollbacks(self, execution_id: UUID, page: Page) -> Listing[Rollback]:
        """The rollbacks of an execution, the newest first."""
        query = select(Rollback).where(
            col(Rollback.tenant_id) == self.tenant_id, col(Rollback.execution_id) == execution_id
        )
        return await self._page(query, Rollback, page)

    async def effects(self, execution_id: UUID, page: Page, *, status: str | None = None) -> Listing[Effect]:
        """The calls of a run that changed the world, the newest first."""
        query = select(Effect).where(col(Effect.tenant_id) == self.tenant_id, col(Effect.execution_id) == execution_id)
        if status is not None:
            query = query.where(col(Effect.status) == status)
        return await self._page(query, Effect, page)
