"""Questions of a tenant's executions to people."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, func, literal, select, update
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Approval
from omium_core.errors import ApprovalNotFound

#: The length of `#` with a row's id.
_MARK_LENGTH: Final = 37


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

    async def set_aside(self, execution_id: UUID, lineage: int) -> None:
        """Makes room for the same questions: those that were cancelled keep their rows under another id of the question."""
        await self.session.execute(
            update(Approval)
            .where(
                col(Approval.tenant_id) == self.tenant_id,
                col(Approval.execution_id) == execution_id,
                col(Approval.lineage) == lineage,
                col(Approval.status) == "cancelled",
                not_set_aside(),
            )
            .values(interrupt_id=id_set_aside())
        )


def id_set_aside() -> ColumnElement[str]:
    """The id of a question that was asked in vain: its own with the row's, which makes room for the same question."""
    return func.left(col(Approval.interrupt_id), 200) + _row_mark()


def not_set_aside() -> ColumnElement[bool]:
    """Whether a question still has its own id, which may hold any sign."""
    return func.right(col(Approval.interrupt_id), _MARK_LENGTH) != _row_mark()


def _row_mark() -> ColumnElement[str]:
    return literal("#") + cast(col(Approval.id), Text)
