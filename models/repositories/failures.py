"""Failures of a tenant's executions."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Failure
from models.tables.base import now
from omium_core.errors import FailureNotFound


class FailureRepository(Repository):
    async def get(self, failure_id: UUID) -> Failure:
        query = select(Failure).where(col(Failure.tenant_id) == self.tenant_id, col(Failure.id) == failure_id)
        failure = (await self.session.execute(query)).scalar_one_or_none()
        if failure is None:
            raise FailureNotFound(f"Failure {failure_id} does not exist.", failure_id=str(failure_id))
        return failure

    async def list(
        self,
        page: Page,
        *,
        execution_id: UUID | None = None,
        severity: str | None = None,
        recovery_status: str | None = None,
    ) -> Listing[Failure]:
        query = select(Failure).where(col(Failure.tenant_id) == self.tenant_id)
        if execution_id is not None:
            query = query.where(col(Failure.execution_id) == execution_id)
        if severity is not None:
            query = query.where(col(Failure.severity) == severity)
        if recovery_status is not None:
            query = query.where(col(Failure.recovery_status) == recovery_status)
        return await self._page(query, Failure, page)

    async def resolve(self, execution_id: UUID) -> None:
        """Marks what is open as resolved: the execution is being taken up again."""
        await self.session.execute(
            update(Failure)
            .where(
                col(Failure.tenant_id) == self.tenant_id,
                col(Failure.execution_id) == execution_id,
                col(Failure.recovery_status) == "pending",
            )
            .values(recovery_status="resolved", resolved_at=now())
        )
