"""The call journal, as the gateway uses it, and the usage that is derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from models.repositories.base import Repository
from models.tables import Agent, JournalEntry


@dataclass(frozen=True)
class StepKey:
    """A step of an execution, as the journal and the fence name it."""

    execution_id: UUID
    lineage: int
    step_index: int


@dataclass(frozen=True)
class StepUsage:
    """What the calls of one step came to; `cost` in millionths of a credit."""

    lineage: int
    step_index: int
    model_calls: int
    tool_calls: int
    tokens: int
    cost: int


class JournalRepository(Repository):
    async def look_up(self, step: StepKey, request_hash: str, occurrence: int) -> tuple[int, JournalEntry | None]:
        """The step's newest attempt (the fence) and the journaled answer, if there is one; one round trip."""
        query = (
            select(col(Agent.attempt), JournalEntry)
            .join(
                JournalEntry,
                and_(
                    col(JournalEntry.execution_id) == col(Agent.execution_id),
                    col(JournalEntry.lineage) == col(Agent.lineage),
                    col(JournalEntry.step_index) == col(Agent.step_index),
                    col(JournalEntry.request_hash) == request_hash,
                    col(JournalEntry.occurrence) == occurrence,
                ),
                isouter=True,
            )
            .where(
                col(Agent.tenant_id) == self.tenant_id,
                col(Agent.execution_id) == step.execution_id,
                col(Agent.lineage) == step.lineage,
                col(Agent.step_index) == step.step_index,
            )
        )
        row = (await self.session.execute(query)).one_or_none()
        return (0, None) if row is None else (row[0], row[1])

    async def write(self, entry: JournalEntry) -> None:
        """Writes an answer; the first one stays, so a repeated write changes nothing."""
        await self.session.execute(insert(JournalEntry).values(entry.model_dump()).on_conflict_do_nothing())

    async def usage(self, execution_ids: Sequence[UUID]) -> dict[UUID, list[StepUsage]]:
        """What was used, per execution and step."""
        is_model = col(JournalEntry.kind) == "model"
        query = (
            select(
                col(JournalEntry.execution_id),
                col(JournalEntry.lineage),
                col(JournalEntry.step_index),
                func.count().filter(is_model),
                func.count().filter(~is_model),
                func.sum(col(JournalEntry.input_tokens)) + func.sum(col(JournalEntry.output_tokens)),
                func.sum(col(JournalEntry.cost)),
            )
            .where(col(JournalEntry.tenant_id) == self.tenant_id, col(JournalEntry.execution_id).in_(execution_ids))
            .group_by(col(JournalEntry.execution_id), col(JournalEntry.lineage), col(JournalEntry.step_index))
        )
        found: dict[UUID, list[StepUsage]] = {}
        for row in (await self.session.execute(query)).all():
            # sums of bigints arrive as decimals
            found.setdefault(row[0], []).append(StepUsage(*(int(number) for number in row[1:])))
        return found
