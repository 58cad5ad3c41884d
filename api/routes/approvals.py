"""`/approvals`: what runs ask people."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from api.auth.principal import Principal
from api.deps import Approvals, requires
from api.schemas.approvals import (
    AnswerRequest,
    ApprovalAnswer,
    ApprovalList,
    ApprovalView,
    Correction,
    Remark,
)
from api.schemas.common import PageQuery, listing
from api.schemas.executions import IdempotencyHeader

router = APIRouter(prefix="/approvals", tags=["approvals"])

Status = Literal["pending", "approved", "rejected", "edited", "expired", "cancelled"]
Answerer = Annotated[Principal, requires("approval:answer")]
Key = Annotated[IdempotencyHeader | None, Header()]
_ON_ITS_WAY: dict[int | str, dict[str, Any]] = {
    202: {"model": ApprovalAnswer, "description": "The answer is on its way to the run"}
}


@router.get("", response_model=ApprovalList)
async def list_all(
    approvals: Approvals,
    caller: Annotated[Principal, requires("approval:read")],
    page: Annotated[PageQuery, Depends()],
    status: Status | None = None,
    execution_id: UUID | None = None,
    assignee: Annotated[str | None, Query(max_length=255)] = None,
) -> dict[str, Any]:
    found, views = await approvals.list(
        caller, page.as_page(), status=status, execution_id=execution_id, assignee=assignee
    )
    return listing("approvals", views, found, page)


@router.get("/{approval_id}", response_model=ApprovalView)
async def get(
    approval_id: UUID, approvals: Approvals, caller: Annotated[Principal, requires("approval:read")]
) -> ApprovalView:
    return await approvals.get(caller, approval_id)


@router.post("/{approval_id}/approve", response_model=ApprovalAnswer, responses=_ON_ITS_WAY)
async def approve(
    approval_id: UUID,
    approvals: Approvals,
    caller: Answerer,
    response: Response,
    body: Remark | None = None,
    idempotency_key: Key = None,
) -> ApprovalAnswer:
    """Lets the step go on. A `value` is handed to it."""
    given = body or Remark()
    answer = await approvals.answer(
        caller, approval_id, "approve", value=given.value, comment=given.comment, key=idempotency_key
    )
    return _told(answer, response)


@router.post("/{approval_id}/reject", response_model=ApprovalAnswer, responses=_ON_ITS_WAY)
async def reject(
    approval_id: UUID,
    approvals: Approvals,
    caller: Answerer,
    response: Response,
    body: Remark | None = None,
    idempotency_key: Key = None,
) -> ApprovalAnswer:
    """Says no. What follows from that, the definition decides."""
    given = body or Remark()
    answer = await approvals.answer(
        caller, approval_id, "reject", value=given.value, comment=given.comment, key=idempotency_key
    )
    return _told(answer, response)


@router.post("/{approval_id}/edit", response_model=ApprovalAnswer, responses=_ON_ITS_WAY)
async def edit(
    approval_id: UUID,
    body: Correction,
    approvals: Approvals,
    caller: Answerer,
    response: Response,
    idempotency_key: Key = None,
) -> ApprovalAnswer:
    """Lets the step go on with `value` instead of what it asked about."""
    answer = await approvals.answer(
        caller, approval_id, "edit", value=body.value, comment=body.comment, key=idempotency_key
    )
    return _told(answer, response)


@router.post("/{approval_id}/answer", response_model=ApprovalAnswer, responses=_ON_ITS_WAY)
async def answer(
    approval_id: UUID,
    body: AnswerRequest,
    approvals: Approvals,
    caller: Answerer,
    response: Response,
    idempotency_key: Key = None,
) -> ApprovalAnswer:
    """The three above in one, for programs: `decision` is approve, reject or edit."""
    told = await approvals.answer(
        caller, approval_id, body.decision, value=body.value, comment=body.comment, key=idempotency_key
    )
    return _told(told, response)


def _told(answer: ApprovalAnswer, response: Response) -> ApprovalAnswer:
    if answer.answer_requested:
        response.status_code = 202
    return answer
