"""Checkpoints on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class CheckpointView(BaseModel):
    id: UUID
    execution_id: UUID
    checkpoint_number: int
    checkpoint_name: str
    lineage: int
    step_index: int
    next_step: str | None
    state_size_bytes: int
    state_blob_uri: str
    checksum: str
    compression_type: str
    metadata: dict[str, Any]
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
