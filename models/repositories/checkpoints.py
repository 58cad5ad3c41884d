"""Checkpoints of a tenant's executions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Checkpoint
from omium_core.errors import CheckpointNotFound


class CheckpointRepository(Repository):
    async def get(self, checkpoint_id: UUID) -> Checkpoint:
        """A checkpoint that was not deleted, else `CheckpointNotFound`."""
        query = self._present().where(col(Checkpoint.id) == checkpoint_id)
        checkpoint = (await self.session.execute(query)).scalar_one_or_none()
        if checkpoint is None:
            raise CheckpointNotFound(f"Checkpoint {checkpoint_id} does not exist.", checkpoint_id=str(checkpoint_id))
        return checkpoint

    async def latest(self, execution_id: UUID, lineage: int, branch: str | None = None) -> Checkpoint | None:
        """What a lineage, or one branch of it, stands on: the state that its next step begins with."""
        query = select(Checkpoint).where(
            col(Checkpoint.tenant_id) == self.tenant_id,
            col(Checkpoint.execution_id) == execution_id,
            col(Checkpoint.lineage) == lineage,
            # a name is given to a state, it is no place where a run stands
            col(Checkpoint.kind) != "named",
        )
        if branch is not None:
            query = query.where(col(Checkpoint.branch) == branch)
        query = query.order_by(col(Checkpoint.checkpoint_number).desc(), col(Checkpoint.id).desc()).limit(1)
        return (await self.session.execute(query)).scalar_one_or_none()

    async def named(self, execution_id: UUID, name: str) -> Sequence[Checkpoint]:
        """All checkpoints of an execution that go by a name: steps of several lineages may share one."""
        query = self._present().where(
            col(Checkpoint.execution_id) == execution_id, col(Checkpoint.checkpoint_name) == name
        )
        return (await self.session.execute(query)).scalars().all()

    async def of_execution(self, execution_id: UUID) -> Sequence[Checkpoint]:
        """All checkpoints of an execution, in the order in which they were made; the deleted ones too."""
        query = (
            select(Checkpoint)
            .where(col(Checkpoint.tenant_id) == self.tenant_id, col(Checkpoint.execution_id) == execution_id)
            .order_by(col(Checkpoint.lineage), col(Checkpoint.checkpoint_number), col(Checkpoint.id))
        )
        return (await self.session.execute(query)).scalars().all()

    async def list(
        self, execution_id: UUID, page: Page, *, kind: str | None = None, lineage: int | None = None
    ) -> Listing[Checkpoint]:
        """Those of one kind, else all but the `base` ones, which repeat the state that a lineage began with."""
        query = self._present().where(col(Checkpoint.execution_id) == execution_id)
        query = query.where(col(Checkpoint.kind) == kind if kind else col(Checkpoint.kind) != "base")
        if lineage is not None:
            query = query.where(col(Checkpoint.lineage) == lineage)
        return await self._page(query, Checkpoint, page)

    def _present(self) -> Select[Any]:
        return select(Checkpoint).where(
            col(Checkpoint.tenant_id) == self.tenant_id, col(Checkpoint.deleted_at).is_(None)
        )
