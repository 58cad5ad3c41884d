"""Workflows: register, read, update (which adds a version), delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from api.auth.principal import Principal
from api.schemas.workflows import WorkflowCreate, WorkflowDetail, WorkflowUpdate
from api.services.auditing import audited, changes
from api.services.definitions import judge
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.workflows import WorkflowRepository
from models.tables import Workflow, WorkflowVersion
from models.tables.base import now


class WorkflowService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def create(self, caller: Principal, wanted: WorkflowCreate) -> WorkflowDetail:
        judgement = await judge(
            self._process,
            caller.tenant_id,
            wanted.framework,
            wanted.workflow_definition,
            wanted.input_schema,
            wanted.output_schema,
        )
        workflow = Workflow(
            tenant_id=caller.tenant_id,
            created_by=caller.user_id,
            name=wanted.name,
            description=wanted.description,
            framework=wanted.framework,
            tags=wanted.tags,
        )
        version = WorkflowVersion(
            tenant_id=caller.tenant_id,
            workflow_id=workflow.id,
            version=1,
            framework=wanted.framework,
            workflow_definition=wanted.workflow_definition,
            input_schema=wanted.input_schema,
            output_schema=wanted.output_schema,
            first_step=judgement.first_step,
        )
        async with self._process.database.transaction(caller.tenant_id) as session:
            await WorkflowRepository(session, caller.tenant_id).add(workflow, version)
            await audited(session, caller, "workflow.create", "workflow", workflow.id, new=_told(workflow))
        return detail(workflow, version, judgement.warnings)

    async def get(self, caller: Principal, workflow_id: UUID, number: int | None = None) -> WorkflowDetail:
        async with self._process.database.transaction(caller.tenant_id) as session:
            repository = WorkflowRepository(session, caller.tenant_id)
            workflow = await repository.get(workflow_id)
            version = await repository.version(workflow_id, number or workflow.version)
        return detail(workflow, version)

    async def list(
        self, caller: Principal, page: Page, *, framework: str | None, is_active: bool | None
    ) -> Listing[Workflow]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            repository = WorkflowRepository(session, caller.tenant_id)
            return await repository.list(page, framework=framework, is_active=is_active)

    async def update(self, caller: Principal, workflow_id: UUID, wanted: WorkflowUpdate) -> WorkflowDetail:
        """A new version: the newest one with what is wanted. Of two updates at the same time both have their effect."""
        while True:
            old = await self.get(caller, workflow_id)
            updated = await self._update(caller, old, wanted)
            if updated is not None:
                return updated

    async def _update(self, caller: Principal, old: WorkflowDetail, wanted: WorkflowUpdate) -> WorkflowDetail | None:
        """The version after `old`, or None if somebody else made it meanwhile."""
        wishes: dict[str, Any] = wanted.model_dump(exclude_unset=True)
        new = old.model_copy(update={name: value for name, value in wishes.items() if value is not None})
        # these may be taken away by naming them as null
        for name in ("description", "input_schema", "output_schema"):
            if name in wishes:
                setattr(new, name, wishes[name])
        judgement = await judge(
            self._process, caller.tenant_id, new.framework, new.workflow_definition, new.input_schema, new.output_schema
        )
        async with self._process.database.transaction(caller.tenant_id) as session:
            repository = WorkflowRepository(session, caller.tenant_id)
            workflow = await repository.get(old.id, lock=True)
            if workflow.version != old.version:
                return None
            before = _told(workflow)
            workflow.version += 1
            workflow.name, workflow.description, workflow.framework = new.name, new.description, new.framework
            workflow.tags, workflow.is_active, workflow.updated_at = new.tags, new.is_active, now()
            version = WorkflowVersion(
                tenant_id=caller.tenant_id,
                workflow_id=workflow.id,
                version=workflow.version,
                framework=new.framework,
                workflow_definition=new.workflow_definition,
                input_schema=new.input_schema,
                output_schema=new.output_schema,
                first_step=judgement.first_step,
            )
            await repository.add(workflow, version)
            was, has_become = changes(before, _told(workflow))
            await audited(session, caller, "workflow.update", "workflow", workflow.id, old=was, new=has_become)
        return detail(workflow, version, judgement.warnings)

    async def delete(self, caller: Principal, workflow_id: UUID) -> None:
        """The workflow is gone from lists and cannot be executed; runs that use it go on."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            workflow = await WorkflowRepository(session, caller.tenant_id).get(workflow_id, lock=True)
            workflow.deleted_at = now()
            session.add(workflow)
            await audited(session, caller, "workflow.delete", "workflow", workflow.id, old=_told(workflow))


def _told(workflow: Workflow) -> dict[str, Any]:
    """What the audit log says of a workflow; what it does is in its versions."""
    return workflow.model_dump(include={"name", "framework", "version", "tags", "is_active"})


def detail(workflow: Workflow, version: WorkflowVersion, warnings: tuple[str, ...] = ()) -> WorkflowDetail:
    return WorkflowDetail(
        **{**workflow.model_dump(), "framework": version.framework, "version": version.version},
        workflow_definition=version.workflow_definition,
        input_schema=version.input_schema,
        output_schema=version.output_schema,
        warnings=list(warnings),
    )
