"""What is done about failures, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.payloads import HoldsPayloads, Payload
from api.schemas.common import Request, Text
from api.schemas.executions import ExecutionSummary
from api.schemas.failures import FailureView

ActionType = Literal["rollback", "retry", "prompt_edit", "manual_intervention", "escalate", "model_fallback"]
ActionStatus = Literal["pending", "in_progress", "completed", "failed", "cancelled"]


class RecoverRequest(Request):
    """`action_config` depends on the type; `analyze` suggests one that can be sent as it is."""

    action_type: Annotated[Text, Field(max_length=100)]
    action_config: dict[str, Any] = Field(default_factory=dict)


class ResolveRequest(Request):
    note: Annotated[Text, Field(max_length=1000)] = ""


class RecoveryActionView(HoldsPayloads):
    """One thing that was done about a failure, by a policy or by a person (`trigger_type`)."""

    id: UUID
    failure_id: UUID
    execution_id: UUID
    action_type: str
    action_config: Payload[dict[str, Any]]
    trigger_type: str
    triggered_by: UUID | None
    triggered_at: datetime
    status: str
    success: bool | None
    error: Payload[str]
    started_at: datetime | None
    completed_at: datetime | None
    metadata: Payload[dict[str, Any]]


class RecoveryActionList(BaseModel):
    recovery_actions: list[RecoveryActionView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class RecoverAnswer(BaseModel):
    """200 when it is done; 202 while the action is `in_progress`."""

    recovery_action: RecoveryActionView
    execution: ExecutionSummary
    message: str


class ResolveAnswer(BaseModel):
    failure: FailureView
    message: str


class SuggestedAction(HoldsPayloads):
    """The body of a `recover` request."""

    action_type: str
    action_config: Payload[dict[str, Any]]


class AnalysisView(HoldsPayloads):
    """What a failure was. `similar` counts those of the same type in the same step of the workflow, in `similar_days` days."""

    failure_type: str
    severity: str
    root_cause: Payload[str]
    suggested_fix: Payload[str]
    is_recoverable: bool
    similar: int
    similar_days: int
    suggested_action: SuggestedAction
    evidence: Payload[dict[str, Any]]


class AnalyzeAnswer(BaseModel):
    failure: FailureView
    analysis: AnalysisView
