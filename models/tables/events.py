"""What happened in an execution, in order: the timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, false, text
from sqlmodel import Field

from models.tables.base import Table, id_field, sealed_json, time_field


class ExecutionEvent(Table, table=True):
    """One entry of the timeline; `data` holds names, numbers and references, never payloads.

    A trigger marks those of executions that notify. Whoever queues their notifications takes the mark away again, so
    that none is passed over whatever the order in which transactions end.
    """

    __tablename__ = "execution_events"
    __table_args__ = (
        Index("ix_execution_events_execution_id_id", "execution_id", "id"),
        Index("ix_execution_events_notify", "id", postgresql_where=text("notify")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE")
    event_type: str = Field(max_length=100)
    data: dict[str, Any] = sealed_json(default_factory=dict, nullable=False)
    #: The checkpoint that the event made: only the database knows its number, and it cannot write into what is sealed.
    checkpoint_number: int | None = None
    notify: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    created_at: datetime = time_field()

    @property
    def told(self) -> dict[str, Any]:
        """What people are told of it."""
        return self.data if self.checkpoint_number is None else {**self.data, "checkpoint": self.checkpoint_number}
