"""Checkpoints on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, BaseModel, Field

from api.payloads import HoldsPayloads, Payload
from api.schemas.common import Request, Text
from api.schemas.executions import ExecutionSummary
from api.schemas.steering import Edits

Kind = Literal["step", "named", "base"]


class CheckpointView(HoldsPayloads):
    """A state of a run: after a step (`step`), given a name by an operator (`named`), or what a lineage began with (`base`)."""

    id: UUID
    execution_id: UUID
    agent_id: UUID | None
    kind: str
    checkpoint_number: int
    checkpoint_name: str
    lineage: int
    branch: str
    step_index: int
    next_step: str | None
    preconditions: Payload[list[Any]]
    postconditions: Payload[list[Any]]
    validation_passed: bool
    state_size_bytes: int
    state_blob_uri: str
    checksum: str
    compression_type: str
    metadata: Payload[dict[str, Any]]
    created_at: datetime


class CheckpointList(BaseModel):
    checkpoints: list[CheckpointView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class CheckpointData(BaseModel):
    """The state itself. `state` is for people; with `?raw=true` it is the framework's own, as a step would load it."""

    checkpoint_id: UUID
    execution_id: UUID
    checkpoint_number: int
    state: Any


class CheckpointCreate(Request):
    """Gives the present state of a run a name; `state`, as `GET /checkpoints/{id}/data?raw=true` shows one, stores that."""

    execution_id: UUID
    checkpoint_name: Annotated[Text, Field(min_length=1, max_length=255)]
    agent_id: UUID | None = None
    state: dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class CheckpointCreated(BaseModel):
    checkpoint: CheckpointView


class RollbackRequest(Request):
    """`confirm` agrees that effects which cannot be undone stay; `force` and `confirm_irreversible` mean the same."""

    reason: Annotated[Text, Field(min_length=1, max_length=255)] = "Requested by the operator"
    trigger_type: Literal["manual", "automatic", "policy"] = "manual"
    edits: Edits = Field(default_factory=dict)
    resume: bool = False
    dry_run: bool = False
    confirm: bool = Field(default=False, validation_alias=AliasChoices("confirm", "force", "confirm_irreversible"))


class RollbackView(HoldsPayloads):
    id: UUID
    execution_id: UUID
    from_checkpoint_id: UUID | None
    to_checkpoint_id: UUID
    from_lineage: int
    to_lineage: int
    status: str
    rollback_success: bool | None
    error: Payload[str]
    triggered_by: UUID | None
    trigger_reason: Payload[str]
    trigger_type: str
    affected_agents: list[UUID]
    edits: Payload[dict[str, Any]]
    metadata: Payload[dict[str, Any]]
    started_at: datetime
    completed_at: datetime | None


class RollbackList(BaseModel):
    rollbacks: list[RollbackView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class RollbackAnswer(BaseModel):
    """200 when it is done; 202 with `rollback_requested` while it goes on, then `rollback` may still be missing."""

    rollback: RollbackView | None
    execution: ExecutionSummary
    rollback_requested: bool = False
    message: str


class DryRun(BaseModel):
    """What a rollback would do. Nothing was changed."""

    plan: dict[str, Any]
    dry_run: Literal[True] = True
