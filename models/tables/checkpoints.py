"""Checkpoints: where the state after each step lies."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, time_field


class Checkpoint(Table, table=True):
    """The state after one step. `checksum` is the SHA-256 of the state's bytes and its address in the object store."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("execution_id", "lineage", "step_index"),
        UniqueConstraint("execution_id", "checkpoint_number"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    lineage: int = 0
    step_index: int
    checkpoint_number: int
    checkpoint_name: str = Field(max_length=255)
    checksum: str = Field(max_length=64)
    state_size_bytes: int = Field(sa_type=BigInteger)
    compression_type: str = Field(default="zstd", max_length=50)
    #: Name of the step that follows; empty when the run is done.
    next_step: str | None = Field(default=None, max_length=255)
    meta: dict[str, Any] = json_field(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = time_field()
