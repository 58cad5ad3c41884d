"""`/executions`"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from api.answers import json_answer
from api.auth.principal import Principal
from api.deps import Executions, requires
from api.schemas.common import Instant, PageQuery, listing
from api.schemas.executions import (
    EventList,
    EventView,
    ExecutionAction,
    ExecutionCreate,
    ExecutionDetail,
    ExecutionList,
    IdempotencyHeader,
)
from api.services.budgets import micro_of
from api.services.executions import Wish
from api.services.views import execution_summary

router = APIRouter(prefix="/executions", tags=["executions"])

Status = Literal["pending", "running", "paused", "completed", "failed", "rolled_back", "cancelled"]


@router.post("", status_code=201, response_model=ExecutionAction)
async def create(
    body: ExecutionCreate,
    executions: Executions,
    caller: Annotated[Principal, requires("execution:create")],
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> ExecutionAction:
    wish = Wish(body.workflow_id, body.given, body.metadata, body.trigger_type, idempotency_key, micro_of(body.budget))
    execution = await executions.start(caller, wish)
    return ExecutionAction(execution=execution_summary(execution, []), message="Execution started successfully")


@router.get("", response_model=ExecutionList)
async def list_all(
    executions: Executions,
    caller: Annotated[Principal, requires("execution:read")],
    page: Annotated[PageQuery, Depends()],
    status: Status | None = None,
    workflow_id: UUID | None = None,
    framework: Annotated[str | None, Query(max_length=50)] = None,
    created_after: Instant | None = None,
    created_before: Instant | None = None,
) -> dict[str, Any]:
    found, summaries = await executions.search(
        caller,
        page.as_page(),
        status=status,
        workflow_id=workflow_id,
        framework=framework,
        created_after=created_after,
        created_before=created_before,
    )
    return listing("executions", summaries, found, page)


@router.get("/{execution_id}", response_model=ExecutionDetail)
async def get(
    execution_id: UUID, executions: Executions, caller: Annotated[Principal, requires("execution:read")]
) -> Response:
    return json_answer(await executions.get(caller, execution_id))


@router.get("/{execution_id}/events", response_model=EventList)
async def events(
    execution_id: UUID,
    executions: Executions,
    caller: Annotated[Principal, requires("execution:read")],
    cursor: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> EventList:
    found = await executions.events(caller, execution_id, cursor, limit)
    views = [EventView(**{**event.model_dump(), "data": event.told}) for event in found]
    return EventList(events=views, next_cursor=views[-1].id if len(views) == limit else None)
