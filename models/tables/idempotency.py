"""Idempotency keys: the same request sent twice has one effect."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from models.tables.base import Table, time_field


class IdempotencyKey(Table, table=True):
    """A key that a caller gave, and the execution that it started. Written in the transaction that makes the execution."""

    __tablename__ = "idempotency_keys"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    key: str = Field(max_length=255, primary_key=True)
    request_hash: str = Field(max_length=64)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", index=True)
    created_at: datetime = time_field()
