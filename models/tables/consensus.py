"""Handoff consensus, as people and services read it: a projection of what the run's workflow decided."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, optional_time_field, sealed_json, sealed_text, time_field


class ConsensusLog(Table, table=True):
    """One entry of an execution's consensus log: what was handed over, in which term, and whether it was agreed.

    There is one row per index; a new term changes `term`, `leader` and `acks_received` of it.
    """

    __tablename__ = "consensus_logs"
    __table_args__ = (
        CheckConstraint("message_type IN ('handoff', 'state_update', 'completion', 'failure')", name="valid_type"),
        CheckConstraint("status IN ('open', 'committed', 'rejected', 'failed', 'cancelled')", name="valid_status"),
        UniqueConstraint("execution_id", "log_index"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    lineage: int
    step_index: int
    term: int
    log_index: int
    leader: str = Field(max_length=255)
    #: Names of the agents, and their steps' rows where there are some.
    sender: str = Field(max_length=255)
    receivers: list[str] = json_field(default_factory=list, nullable=False)
    sender_agent_id: UUID | None = Field(default=None, foreign_key="agents.id", ondelete="SET NULL")
    receiver_agent_id: UUID | None = Field(default=None, foreign_key="agents.id", ondelete="SET NULL")
    message_type: str = Field(default="handoff", max_length=50)
    #: What is voted on: names, references and the payload's hash.
    message: dict[str, Any] = sealed_json(default_factory=dict, nullable=False)
    payload_hash: str = Field(max_length=64)
    voters: list[dict[str, Any]] = json_field(default_factory=list, nullable=False)
    status: str = Field(default="open", max_length=20)
    consensus_reached: bool = False
    acks_received: int = 0
    acks_required: int
    deadline: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    committed_at: datetime | None = optional_time_field()


class ConsensusAck(Table, table=True):
    """One vote. `valid` is whether the voter agreed."""

    __tablename__ = "consensus_acks"
    __table_args__ = (UniqueConstraint("consensus_log_id", "term", "voter"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    consensus_log_id: UUID = Field(foreign_key="consensus_logs.id", ondelete="CASCADE")
    voter: str = Field(max_length=255)
    kind: str = Field(max_length=20)
    agent_id: UUID | None = Field(default=None, foreign_key="agents.id", ondelete="SET NULL")
    term: int
    valid: bool = True
    reason: str | None = sealed_text(default=None)
    ack_received_at: datetime = time_field()
