"""Questions of a tenant's executions to people."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Approval
from omium_core.errors import ApprovalNotFound


class ApprovalRepository(Repository):
    async def get(self, approval_id: UUID) -> Approval:
        query = select(Approval).where(col(Approval.tenant_id) == self.tenant_id, col(Approval.id) == approval_id)
        approval = (await self.session.execute(query)).scalar_one_or_none()
        if approval is None:
            raise ApprovalNotFound(f"Approval {approval_id} does not exist.", approval_id=str(approval_id))
        return approval

    async def list(
        self,
        page: Page,
        *,
        status: str | None = None,
        execution_id: UUID | None = None,
        assignee: str | None = None,
    ) -> Listing[Approval]:
        query = select(Approval).where(col(Approval.tenant_id) == self.tenant_id)
        if status is not None:
            query = query.where(col(Approval.status) == status)
        if execution_id is not None:
            query = query.where(col(Approval.execution_id) == execution_id)
        if assignee is not None:
            query = query.where(col(Approval.assignee) == assignee)
        return await self._page(query, Approval, page)

    async def pending(self, execution_id: UUID) -> int:
        """How many questions of an execution are open."""
        query = (
            select(func.count())
            .select_from(Approval)
            .where(
                col(Approval.tenant_id) == self.tenant_id,
                col(Approval.execution_id) == execution_id,
                col(Approval.status) == "pending",
            )
        )
        return int((await self.session.execute(query)).scalar_one())
