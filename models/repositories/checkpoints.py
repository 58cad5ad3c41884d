"""Checkpoints of a tenant's executions."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Checkpoint
from omium_core.errors import CheckpointNotFound


class CheckpointRepository(Repository):
    async def get(self, checkpoint_id: UUID) -> Checkpoint:
        query = select(Checkpoint).where(
            col(Checkpoint.tenant_id) == self.tenant_id, col(Checkpoint.id) == checkpoint_id
        )
        checkpoint = (await self.session.execute(query)).scalar_one_or_none()
        if checkpoint is None:
            raise CheckpointNotFound(f"Checkpoint {checkpoint_id} does not exist.", checkpoint_id=str(checkpoint_id))
        return checkpoint

    async def latest(self, execution_id: UUID, lineage: int) -> Checkpoint | None:
        query = (
            select(Checkpoint)
            .where(
                col(Checkpoint.tenant_id) == self.tenant_id,
                col(Checkpoint.execution_id) == execution_id,
                col(Checkpoint.lineage) == lineage,
            )
            .order_by(col(Checkpoint.step_index).desc())
            .limit(1)
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def list(self, execution_id: UUID, page: Page) -> Listing[Checkpoint]:
        query = select(Checkpoint).where(
            col(Checkpoint.tenant_id) == self.tenant_id, col(Checkpoint.execution_id) == execution_id
        )
        return await self._page(query, Checkpoint, page)
