"""`/failures`, and what is done about them"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from api.auth.principal import Principal
from api.deps import Failures, Recovery, requires
from api.schemas.common import PageQuery, listing
from api.schemas.executions import IdempotencyHeader
from api.schemas.failures import FailureList, FailureView
from api.schemas.recovery import AnalyzeAnswer, RecoverAnswer, RecoverRequest, ResolveAnswer, ResolveRequest
from api.services.failures import view

router = APIRouter(prefix="/failures", tags=["failures"])


@router.get("", response_model=FailureList)
async def list_all(
    failures: Failures,
    caller: Annotated[Principal, requires("failure:read")],
    page: Annotated[PageQuery, Depends()],
    execution_id: UUID | None = None,
    severity: Literal["low", "medium", "high", "critical"] | None = None,
    failure_type: Annotated[str | None, Query(max_length=100)] = None,
    status: Annotated[
        Literal["unresolved", "pending", "in_progress", "escalated", "resolved"] | None,
        Query(description="`unresolved` is all that is not resolved"),
    ] = None,
) -> dict[str, Any]:
    found = await failures.list(
        caller,
        page.as_page(),
        execution_id=execution_id,
        severity=severity,
        failure_type=failure_type,
        status=status,
    )
    return {
        **listing("failures", [view(row) for row in found.rows], found, page),
        "pagination": {"total": found.total, "limit": page.limit, "offset": page.offset},
    }


@router.get("/{failure_id}", response_model=FailureView)
async def get(
    failure_id: UUID, failures: Failures, caller: Annotated[Principal, requires("failure:read")]
) -> FailureView:
    return await failures.get(caller, failure_id)


@router.post("/{failure_id}/analyze", response_model=AnalyzeAnswer)
async def analyze(
    failure_id: UUID, failures: Failures, caller: Annotated[Principal, requires("failure:analyze")]
) -> AnalyzeAnswer:
    """Why it happened, and what would help: `suggested_action` can be sent to `recover` as it is."""
    return await failures.analyze(caller, failure_id)


@router.post(
    "/{failure_id}/recover",
    response_model=RecoverAnswer,
    responses={202: {"model": RecoverAnswer, "description": "The action is under way"}},
)
async def recover(
    failure_id: UUID,
    body: RecoverRequest,
    recovery: Recovery,
    caller: Annotated[Principal, requires("failure:recover")],
    response: Response,
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> RecoverAnswer:
    """Retries, rolls back, edits a prompt, takes another model, or hands the run to a person."""
    answer = await recovery.recover(caller, failure_id, body, idempotency_key)
    if answer.recovery_action.status == "in_progress":
        response.status_code = 202
    return answer


@router.post("/{failure_id}/resolve", response_model=ResolveAnswer)
async def resolve(
    failure_id: UUID,
    failures: Failures,
    caller: Annotated[Principal, requires("failure:recover")],
    body: ResolveRequest | None = None,
) -> ResolveAnswer:
    """Somebody took care of it elsewhere; nothing is done to the run."""
    return await failures.resolve(caller, failure_id, (body or ResolveRequest()).note)
