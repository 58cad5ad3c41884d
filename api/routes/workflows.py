"""`/workflows`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from api.auth.principal import Principal
from api.deps import Executions, Workflows, requires
from api.schemas.common import PageQuery, listing
from api.schemas.executions import ExecuteRequest, ExecutionStarted, IdempotencyHeader
from api.schemas.workflows import WorkflowCreate, WorkflowDetail, WorkflowList, WorkflowUpdate
from api.services.budgets import micro_of
from api.services.executions import Wish

router = APIRouter(prefix="/workflows", tags=["workflows"])


@router.post("", status_code=201, response_model=WorkflowDetail)
async def create(
    body: WorkflowCreate, workflows: Workflows, caller: Annotated[Principal, requires("workflow:create")]
) -> WorkflowDetail:
    return await workflows.create(caller, body)


@router.get("", response_model=WorkflowList)
async def list_all(
    workflows: Workflows,
    caller: Annotated[Principal, requires("workflow:read")],
    page: Annotated[PageQuery, Depends()],
    framework: Annotated[str | None, Query(max_length=50)] = None,
    is_active: bool | None = None,
) -> dict[str, Any]:
    found = await workflows.list(caller, page.as_page(), framework=framework, is_active=is_active)
    return listing("workflows", [row.model_dump() for row in found.rows], found, page)


@router.get("/{workflow_id}", response_model=WorkflowDetail)
async def get(
    workflow_id: UUID,
    workflows: Workflows,
    caller: Annotated[Principal, requires("workflow:read")],
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> WorkflowDetail:
    return await workflows.get(caller, workflow_id, version)


@router.put("/{workflow_id}", response_model=WorkflowDetail)
@router.patch("/{workflow_id}", response_model=WorkflowDetail)
async def update(
    workflow_id: UUID,
    body: WorkflowUpdate,
    workflows: Workflows,
    caller: Annotated[Principal, requires("workflow:update")],
) -> WorkflowDetail:
    return await workflows.update(caller, workflow_id, body)


@router.delete("/{workflow_id}", status_code=204)
async def delete(
    workflow_id: UUID, workflows: Workflows, caller: Annotated[Principal, requires("workflow:delete")]
) -> Response:
    await workflows.delete(caller, workflow_id)
    return Response(status_code=204)


@router.post("/{workflow_id}/execute", status_code=201, response_model=ExecutionStarted)
async def execute(
    workflow_id: UUID,
    executions: Executions,
    caller: Annotated[Principal, requires("execution:create")],
    body: ExecuteRequest | None = None,
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> ExecutionStarted:
    wanted = body or ExecuteRequest()
    wish = Wish(
        workflow_id,
        wanted.inputs,
        wanted.metadata,
        idempotency_key=idempotency_key,
        budget=micro_of(wanted.budget),
    )
    execution = await executions.start(caller, wish)
    return ExecutionStarted(execution_id=execution.id, status=execution.status, started_at=execution.started_at)
