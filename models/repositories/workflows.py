"""Workflows and their versions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, null, select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Workflow, WorkflowVersion
from omium_core.errors import WorkflowNotFound


class WorkflowRepository(Repository):
    async def add(self, workflow: Workflow, version: WorkflowVersion) -> None:
        self.session.add(workflow)
        await self.session.flush()
        self.session.add(version)
        await self.session.flush()

    async def get(self, workflow_id: UUID, *, lock: bool = False) -> Workflow:
        """The workflow, or `WorkflowNotFound`; deleted ones are not found."""
        query = select(Workflow).where(
            col(Workflow.tenant_id) == self.tenant_id,
            col(Workflow.id) == workflow_id,
            col(Workflow.deleted_at).is_(None),
        )
        workflow = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        if workflow is None:
            raise WorkflowNotFound(f"Workflow {workflow_id} does not exist.", workflow_id=str(workflow_id))
        return workflow

    async def version(self, workflow_id: UUID, number: int) -> WorkflowVersion:
        query = select(WorkflowVersion).where(
            col(WorkflowVersion.tenant_id) == self.tenant_id,
            col(WorkflowVersion.workflow_id) == workflow_id,
            col(WorkflowVersion.version) == number,
        )
        version = (await self.session.execute(query)).scalar_one_or_none()
        if version is None:
            raise WorkflowNotFound(
                f"Workflow {workflow_id} has no version {number}.", workflow_id=str(workflow_id), version=number
            )
        return version

    async def current(
        self, workflow_id: UUID, also: ColumnElement[Any] | None = None
    ) -> tuple[Workflow, WorkflowVersion, Any]:
        """A workflow with the version that runs now, and what else is asked: one round trip, for every start pays for it."""
        query = (
            select(Workflow, WorkflowVersion, null() if also is None else also)
            .join(
                WorkflowVersion,
                and_(
                    col(WorkflowVersion.workflow_id) == col(Workflow.id),
                    col(WorkflowVersion.version) == col(Workflow.version),
                ),
            )
            .where(
                col(Workflow.tenant_id) == self.tenant_id,
                col(Workflow.id) == workflow_id,
                col(Workflow.deleted_at).is_(None),
            )
        )
        row = (await self.session.execute(query)).one_or_none()
        if row is None:
            raise WorkflowNotFound(f"Workflow {workflow_id} does not exist.", workflow_id=str(workflow_id))
        return row[0], row[1], row[2]

    async def version_by_id(self, version_id: UUID) -> WorkflowVersion:
        query = select(WorkflowVersion).where(
            col(WorkflowVersion.tenant_id) == self.tenant_id, col(WorkflowVersion.id) == version_id
        )
        version = (await self.session.execute(query)).scalar_one_or_none()
        if version is None:
            raise WorkflowNotFound(f"Version {version_id} does not exist.", version_id=str(version_id))
        return version

    async def list(
        self, page: Page, *, framework: str | None = None, is_active: bool | None = None
    ) -> Listing[Workflow]:
        query = select(Workflow).where(col(Workflow.tenant_id) == self.tenant_id, col(Workflow.deleted_at).is_(None))
        if framework is not None:
            query = query.where(col(Workflow.framework) == framework)
        if is_active is not None:
            query = query.where(col(Workflow.is_active) == is_active)
        return await self._page(query, Workflow, page)
