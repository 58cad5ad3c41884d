"""What was done about failures of a tenant's executions, by policies and by people."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, select, update
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.repositories.lineages import StepOfLine
from models.tables import Checkpoint, Execution, Failure, RecoveryAction, Rollback
from models.tables.base import now
from omium_core.errors import RecoveryActionNotFound

#: What does a step again that failed; to roll back is to leave work that was good.
_ANEW = ("retry", "prompt_edit", "model_fallback")


class RecoveryRepository(Repository):
    async def get(self, action_id: UUID) -> RecoveryAction:
        query = select(RecoveryAction).where(
            col(RecoveryAction.tenant_id) == self.tenant_id, col(RecoveryAction.id) == action_id
        )
        action = (await self.session.execute(query)).scalar_one_or_none()
        if action is None:
            raise RecoveryActionNotFound(f"Recovery action {action_id} does not exist.", action_id=str(action_id))
        return action

    async def find(self, execution_id: UUID, command_id: str) -> RecoveryAction | None:
        """The action that a command asked for before."""
        query = select(RecoveryAction).where(
            col(RecoveryAction.tenant_id) == self.tenant_id,
            col(RecoveryAction.execution_id) == execution_id,
            col(RecoveryAction.command_id) == command_id,
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def list(
        self,
        page: Page,
        *,
        execution_id: UUID | None = None,
        failure_id: UUID | None = None,
        action_type: str | None = None,
        status: str | None = None,
        trigger_type: str | None = None,
    ) -> Listing[RecoveryAction]:
        query = select(RecoveryAction).where(col(RecoveryAction.tenant_id) == self.tenant_id)
        filters = {
            "execution_id": execution_id,
            "failure_id": failure_id,
            "action_type": action_type,
            "status": status,
            "trigger_type": trigger_type,
        }
        for name, value in filters.items():
            if value is not None:
                query = query.where(col(getattr(RecoveryAction, name)) == value)
        return await self._page(query, RecoveryAction, page)

    async def settle(self, execution_id: UUID, command_id: str, error: str | None = None) -> None:
        """An action is over: done, or with an `error` not. If a policy could not do it, a person has to look at the failure."""
        settled = (
            update(RecoveryAction)
            .where(
                col(RecoveryAction.tenant_id) == self.tenant_id,
                col(RecoveryAction.execution_id) == execution_id,
                col(RecoveryAction.command_id) == command_id,
                col(RecoveryAction.status) == "in_progress",
            )
            .values(status="failed" if error else "completed", success=error is None, error=error, completed_at=now())
            .returning(col(RecoveryAction.failure_id), col(RecoveryAction.trigger_type))
        )
        action = (await self.session.execute(settled)).one_or_none()
        if action is not None and error and action.trigger_type == "policy":
            await self.session.execute(
                update(Failure)
                .where(col(Failure.tenant_id) == self.tenant_id, col(Failure.id) == action.failure_id)
                .values(recovery_status="escalated")
            )

    async def drop(self, execution_id: UUID) -> None:
        """What policies were about to do is not done any more: the run was taken elsewhere."""
        await self.session.execute(
            update(RecoveryAction)
            .where(
                col(RecoveryAction.tenant_id) == self.tenant_id,
                col(RecoveryAction.execution_id) == execution_id,
                col(RecoveryAction.status) == "in_progress",
                col(RecoveryAction.trigger_type) == "policy",
            )
            .values(status="cancelled", success=False, completed_at=now())
        )

    async def checkpoint_before(self, execution_id: UUID, lineage: int, step_index: int) -> Checkpoint | None:
        """What a lineage stood on before a step; None at its beginning."""
        query = (
            select(Checkpoint)
            .where(
                *self._of_lineage(execution_id, lineage),
                col(Checkpoint.deleted_at).is_(None),
                col(Checkpoint.step_index) < step_index,
            )
            .order_by(col(Checkpoint.checkpoint_number).desc(), col(Checkpoint.id).desc())
            .limit(1)
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def is_done(self, execution_id: UUID, lineage: int, step_index: int) -> bool:
        """Whether a step has its checkpoint."""
        query = select(
            exists().where(*self._of_lineage(execution_id, lineage), col(Checkpoint.step_index) == step_index)
        )
        return bool((await self.session.execute(query)).scalar_one())

    async def redone(self, execution_id: UUID) -> set[StepOfLine]:
        """Steps that failed and were done anew, on the line of history that began for it."""
        query = (
            select(col(Failure.lineage), col(Failure.step_index))
            .join(RecoveryAction, col(RecoveryAction.failure_id) == col(Failure.id))
            .join(
                Rollback,
                and_(
                    col(Rollback.execution_id) == col(RecoveryAction.execution_id),
                    col(Rollback.command_id) == col(RecoveryAction.command_id),
                ),
            )
            .where(
                col(Failure.tenant_id) == self.tenant_id,
                col(Failure.execution_id) == execution_id,
                col(Failure.step_index).is_not(None),
                col(RecoveryAction.action_type).in_(_ANEW),
                col(Rollback.status) == "completed",
            )
        )
        return {(row.lineage, row.step_index) for row in (await self.session.execute(query)).all()}

    async def count_alike(self, workflow_id: UUID, failure_type: str, step_name: str | None, days: int) -> int:
        """How many failures of one type there were lately in the same step of a workflow."""
        query = (
            select(func.count())
            .select_from(Failure)
            .join(Execution, col(Execution.id) == col(Failure.execution_id))
            .where(
                col(Failure.tenant_id) == self.tenant_id,
                col(Failure.failure_type) == failure_type,
                col(Failure.step_name).is_not_distinct_from(step_name),
                col(Failure.created_at) > now() - timedelta(days=days),
                col(Execution.workflow_id) == workflow_id,
            )
        )
        return int((await self.session.execute(query)).scalar_one())

    def _of_lineage(self, execution_id: UUID, lineage: int) -> tuple[ColumnElement[bool], ...]:
        return (
            col(Checkpoint.tenant_id) == self.tenant_id,
            col(Checkpoint.execution_id) == execution_id,
            col(Checkpoint.lineage) == lineage,
            col(Checkpoint.kind) != "named",
        )
