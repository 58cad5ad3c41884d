"""Failures of a tenant's executions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Failure
from models.tables.base import now
from omium_core.errors import FailureNotFound


class FailureRepository(Repository):
    async def get(self, failure_id: UUID, *, lock: bool = False) -> Failure:
        query = select(Failure).where(col(Failure.tenant_id) == self.tenant_id, col(Failure.id) == failure_id)
        failure = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        if failure is None:
            raise FailureNotFound(f"Failure {failure_id} does not exist.", failure_id=str(failure_id))
        return failure

    async def list(
        self,
        page: Page,
        *,
        execution_id: UUID | None = None,
        severity: str | None = None,
        failure_type: str | None = None,
        recovery_statuses: Sequence[str] = (),
    ) -> Listing[Failure]:
        query = select(Failure).where(col(Failure.tenant_id) == self.tenant_id)
        if execution_id is not None:
            query = query.where(col(Failure.execution_id) == execution_id)
        if severity is not None:
            query = query.where(col(Failure.severity) == severity)
        if failure_type is not None:
            query = query.where(col(Failure.failure_type) == failure_type)
        if recovery_statuses:
            query = query.where(col(Failure.recovery_status).in_(recovery_statuses))
        return await self._page(query, Failure, page)

    async def of_step(self, execution_id: UUID, lineage: int, step_index: int, types: Sequence[str]) -> int:
        """How often a step is recorded to have failed for good in one of these ways."""
        query = select(func.count()).where(
            col(Failure.tenant_id) == self.tenant_id,
            col(Failure.execution_id) == execution_id,
            col(Failure.lineage) == lineage,
            col(Failure.step_index) == step_index,
            col(Failure.failure_type).in_(types),
        )
        return int((await self.session.execute(query)).scalar_one())

    async def take_up(self, execution_id: UUID) -> None:
        """Something is being done about what is open: the execution goes on."""
        await self._set(execution_id, ("pending", "escalated"), recovery_status="in_progress")

    async def leave(self, execution_id: UUID) -> None:
        """Nothing is being done any more: the execution failed again."""
        await self._set(execution_id, ("in_progress",), recovery_status="pending")

    async def resolve(self, execution_id: UUID) -> None:
        """The execution completed, or is given up."""
        open_ = ("pending", "in_progress", "escalated")
        await self._set(execution_id, open_, recovery_status="resolved", resolved_at=now())

    async def _set(self, execution_id: UUID, before: Sequence[str], **values: Any) -> None:
        await self.session.execute(
            update(Failure)
            .where(
                col(Failure.tenant_id) == self.tenant_id,
                col(Failure.execution_id) == execution_id,
                col(Failure.recovery_status).in_(before),
            )
            .values(**values)
        )
