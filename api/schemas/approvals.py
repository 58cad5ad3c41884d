"""Questions to people on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.payloads import HoldsPayloads, Payload
from api.schemas.common import Request, Text
from api.schemas.executions import ExecutionSummary

Decision = Literal["approve", "reject", "edit"]
Comment = Annotated[Text, Field(max_length=1000)]


class ApprovalView(HoldsPayloads):
    """`interrupt_id` is the framework's name of the question within its step. At the `deadline` the `default_decision` is taken."""

    id: UUID
    execution_id: UUID
    lineage: int
    step_index: int
    step_name: str
    interrupt_id: str
    title: Payload[str]
    question: Payload[Any]
    assignee: str | None
    status: str
    deadline: datetime | None
    default_decision: str | None
    default_value: Payload[Any]
    answer: Payload[Any]
    comment: Payload[str]
    answered_by: str | None
    created_at: datetime
    answered_at: datetime | None


class ApprovalList(BaseModel):
    approvals: list[ApprovalView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class Remark(Request):
    """Body of approve and reject; what comes as `value` is handed to the step."""

    value: Any = None
    comment: Comment = ""


class Correction(Request):
    """Body of edit."""

    value: Any
    comment: Comment = ""


class AnswerRequest(Request):
    decision: Decision
    value: Any = None
    comment: Comment = ""


class ApprovalAnswer(BaseModel):
    """200 when the answer is written down; 202 with `answer_requested` while it is on its way."""

    approval: ApprovalView
    execution: ExecutionSummary
    answer_requested: bool
    message: str
