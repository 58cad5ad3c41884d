"""Executions on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from api.payloads import HoldsPayloads, Payload
from api.schemas.budgets import RunBudget
from api.schemas.common import Credits, Request, Text


class ExecuteRequest(Request):
    """Body of `POST /workflows/{id}/execute`."""

    inputs: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    budget: RunBudget | None = None


class ExecutionCreate(Request):
    """Body of `POST /executions`; `inputs` and `input_params` mean the same."""

    workflow_id: UUID
    inputs: dict[str, Any] | None = None
    input_params: dict[str, Any] | None = None
    trigger_type: Literal["manual", "api", "scheduled", "webhook", "event"] = "api"
    metadata: dict[str, Any] = Field(default_factory=dict)
    budget: RunBudget | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ExecutionCreate:
        if self.inputs is not None and self.input_params is not None:
            raise ValueError("inputs and input_params mean the same: give one of them")
        return self

    @property
    def given(self) -> dict[str, Any]:
        return self.inputs or self.input_params or {}


class ExecutionStarted(BaseModel):
    """Answer of `POST /workflows/{id}/execute`."""

    execution_id: UUID
    status: str
    started_at: datetime | None


class Progress(BaseModel):
    current_step: int
    total_steps: int
    percentage: float


class AgentView(HoldsPayloads):
    """One step."""

    id: UUID
    name: str
    agent_type: str
    status: str
    lineage: int
    branch: str
    step_index: int
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    llm_calls: int
    tool_calls: int
    tokens_used: int
    output: Payload[Any]
    error: Payload[str]


class TemporalLink(BaseModel):
    """Where to look at the run in the Temporal Web UI."""

    workflow_id: str
    ui_url: str


class PolicyRef(BaseModel):
    """A stored policy that holds for a run, in the version with which it began."""

    id: UUID
    version: int


class ExecutionSummary(HoldsPayloads):
    """An execution in a list."""

    id: UUID
    workflow_id: UUID
    workflow_version: int
    framework: str
    status: str
    reason: str | None
    error: Payload[str]
    error_message: Payload[str]
    trigger_type: str
    progress: Progress
    current_checkpoint: str | None
    checkpoint_count: int
    retry_count: int
    credits_used: Credits
    #: Which line of its history is the present one: each rollback begins another.
    lineage: int
    forked_from: UUID | None
    forked_from_checkpoint: UUID | None
    started_at: datetime | None
    paused_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    created_at: datetime


class ExecutionDetail(ExecutionSummary):
    #: None, as outputs and those of steps, for who may not see payloads.
    inputs: Payload[dict[str, Any]]
    outputs: Payload[Any]
    #: The steps that led to where it stands: what was kept of earlier lineages, then the present one.
    agents: list[AgentView]
    pending_approvals: int
    #: Which one it is, from 1, among those of its tenant that wait for their turn; None for one that does not wait.
    queue_position: int | None
    policies: list[PolicyRef]
    metadata: Payload[dict[str, Any]]
    temporal: TemporalLink


class ExecutionList(BaseModel):
    executions: list[ExecutionSummary]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class ExecutionAction(BaseModel):
    """The envelope of an action."""

    execution: ExecutionSummary
    message: str


class EventView(HoldsPayloads):
    id: UUID
    event_type: str
    data: Payload[dict[str, Any]]
    created_at: datetime


class EventList(BaseModel):
    events: list[EventView]
    next_cursor: UUID | None


IdempotencyHeader = Annotated[Text, Field(min_length=1, max_length=255)]
