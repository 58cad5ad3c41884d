"""Checkpoints: where the state after each step lies, and the lineages that rollbacks begin."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field

from models.tables.base import Table, id_field, optional_time_field, sealed_json, sealed_text, time_field


class Checkpoint(Table, table=True):
    """A state of a run. `checksum` is the SHA-256 of the state's bytes and its address in the object store.

    Kinds: `step`, made by a step that ended well; `named`, a step's state that an operator gave a name; `base`, the
    state from which a lineage goes on after a rollback or a fork, with its edits. `checkpoint_number` is the place
    within its lineage, from 1; a lineage goes on counting where it branched off. The state of a run of parallel branches
    at number N is, for each branch, its last checkpoint up to N.
    """

    __tablename__ = "checkpoints"
    __table_args__ = (
        CheckConstraint("kind IN ('step', 'named', 'base')", name="valid_kind"),
        Index(
            "uq_checkpoints_step",
            "execution_id",
            "lineage",
            "step_index",
            unique=True,
            postgresql_where=text("kind = 'step'"),
        ),
        Index(
            "uq_checkpoints_given_name",
            "execution_id",
            "checkpoint_name",
            unique=True,
            postgresql_where=text("kind = 'named' AND deleted_at IS NULL"),
        ),
        Index("ix_checkpoints_execution_id_lineage", "execution_id", "lineage", "checkpoint_number"),
        Index("ix_checkpoints_tenant_id_created_at", "tenant_id", "created_at"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    #: The step that made it, in `agents`.
    agent_id: UUID | None = Field(default=None, foreign_key="agents.id", ondelete="SET NULL")
    kind: str = Field(default="step", max_length=10, sa_column_kwargs={"server_default": "step"})
    lineage: int = 0
    #: The node of a flow; empty for a run without branches.
    branch: str = Field(default="", max_length=255, sa_column_kwargs={"server_default": ""})
    step_index: int
    checkpoint_number: int
    checkpoint_name: str = Field(max_length=255)
    checksum: str = Field(max_length=64)
    state_size_bytes: int = Field(sa_type=BigInteger)
    compression_type: str = Field(default="zstd", max_length=50)
    #: Name of the step that follows; empty when the run, or the branch, is done.
    next_step: str | None = Field(default=None, max_length=255)
    #: The conditions that held before and after the step, as the definition wrote them.
    preconditions: list[Any] | None = sealed_json()
    postconditions: list[Any] | None = sealed_json()
    validation_passed: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    meta: dict[str, Any] = sealed_json(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = time_field()
    #: Set by whoever deletes it: nothing leads back to it any more, but what came after it still stands.
    deleted_at: datetime | None = optional_time_field()


class Lineage(Table, table=True):
    """One line of a run's history. A rollback leaves the present one as it is and begins the next.

    There is a row for each lineage that began at a checkpoint; a run that began at its beginning has none for lineage 0.
    """

    __tablename__ = "lineages"

    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", primary_key=True)
    lineage: int = Field(primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    #: Where it branched off: the lineage (None for a fork) and the number of the checkpoint in it.
    parent_lineage: int | None = None
    parent_number: int = 0
    checkpoint_id: UUID | None = Field(default=None, foreign_key="checkpoints.id", ondelete="SET NULL")
    rollback_id: UUID | None = None
    #: The definition with this lineage's edits, in the object store; empty for the version's own.
    definition_blob: str | None = Field(default=None, max_length=64)
    reason: str = sealed_text(default="")
    created_at: datetime = time_field()
