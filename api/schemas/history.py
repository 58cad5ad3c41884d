"""What an execution went through, on the wire: lineages as a tree, effects of tools."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from api.payloads import HoldsPayloads, Payload
from api.schemas.checkpoints import CheckpointView
from api.schemas.executions import AgentView


class ForkView(BaseModel):
    execution_id: UUID
    checkpoint_id: UUID | None
    status: str
    created_at: datetime


class LineageView(HoldsPayloads):
    """One line of an execution's history: where it branched off, why, and what happened in it."""

    lineage: int
    parent_lineage: int | None
    parent_number: int
    checkpoint_id: UUID | None
    checkpoint_name: str | None
    rollback_id: UUID | None
    reason: Payload[str]
    current: bool
    created_at: datetime
    steps: list[AgentView]
    checkpoints: list[CheckpointView]
    forks: list[ForkView]
    #: The lineages that branched off from this one.
    children: list[int]


class Branching(BaseModel):
    """The shape of the tree alone."""

    lineage: int
    current: bool
    children: list[Branching]


class LineageTree(BaseModel):
    execution_id: UUID
    current_lineage: int
    forked_from: UUID | None
    forked_from_checkpoint: UUID | None
    tree: Branching
    lineages: list[LineageView]


class EffectView(HoldsPayloads):
    """A call of a tool that changed the world. `status`: pending, done, failed, undoing, undone, kept."""

    id: UUID
    execution_id: UUID
    lineage: int
    step_index: int
    tool: str
    idempotency_key: str
    arguments: Payload[Any]
    result: Payload[Any]
    reversible: bool
    inverse: str | None
    status: str
    error: Payload[str]
    rollback_id: UUID | None
    created_at: datetime
    undone_at: datetime | None


class EffectList(BaseModel):
    effects: list[EffectView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int
