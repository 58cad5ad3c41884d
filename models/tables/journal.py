"""The call journal: every answer of a model or a tool, so that no answered call is ever made again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint
from sqlmodel import Field

from models.sealing import SealedBytes
from models.tables.base import Table, new_id, time_field


class JournalEntry(Table, table=True):
    """An answered call, found again by what was asked and how often the step had asked it before.

    `request_hash` is the SHA-256 of the canonical request; `occurrence` counts equal requests within one attempt, from 0.
    `answer` is the body as it was sent to the agent (zstd, then sealed); `cost` is in millionths of a credit.
    """

    __tablename__ = "call_journal"
    __table_args__ = (CheckConstraint("kind IN ('model', 'tool')", name="valid_kind"),)

    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", primary_key=True)
    lineage: int = Field(primary_key=True)
    step_index: int = Field(primary_key=True)
    request_hash: str = Field(max_length=64, primary_key=True)
    occurrence: int = Field(primary_key=True)

    id: UUID = Field(default_factory=new_id, unique=True)
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    kind: str = Field(max_length=10)
    #: The model, or the tool's name.
    name: str = Field(max_length=255)
    endpoint: str = Field(max_length=100)
    attempt: int
    #: The last attempt that was given this answer.
    used_by: int = 1
    content_type: str = Field(max_length=100)
    answer: bytes = Field(sa_type=SealedBytes)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = Field(default=0, sa_type=BigInteger)
    latency_ms: int = 0
    created_at: datetime = time_field()
