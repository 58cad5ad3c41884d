"""The consensus log of an execution and its votes, as people and services read them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import ConsensusAck, ConsensusLog
from omium_core.errors import ConsensusNotFound


class ConsensusRepository(Repository):
    async def get(self, log_id: UUID) -> ConsensusLog:
        query = select(ConsensusLog).where(
            col(ConsensusLog.tenant_id) == self.tenant_id, col(ConsensusLog.id) == log_id
        )
        entry = (await self.session.execute(query)).scalar_one_or_none()
        if entry is None:
            raise ConsensusNotFound(f"Consensus log entry {log_id} does not exist.", log_id=str(log_id))
        return entry

    async def newest(self, execution_id: UUID) -> ConsensusLog | None:
        query = (
            select(ConsensusLog)
            .where(col(ConsensusLog.tenant_id) == self.tenant_id, col(ConsensusLog.execution_id) == execution_id)
            .order_by(col(ConsensusLog.log_index).desc())
            .limit(1)
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def acks(self, log_ids: Sequence[UUID]) -> dict[UUID, list[ConsensusAck]]:
        """The votes on entries that have some, of all their terms, in the order in which they came."""
        query = (
            select(ConsensusAck)
            .where(col(ConsensusAck.tenant_id) == self.tenant_id, col(ConsensusAck.consensus_log_id).in_(log_ids))
            .order_by(col(ConsensusAck.term), col(ConsensusAck.ack_received_at))
        )
        found: dict[UUID, list[ConsensusAck]] = {}
        rows: Sequence[ConsensusAck] = (await self.session.execute(query)).scalars().all()
        for ack in rows:
            found.setdefault(ack.consensus_log_id, []).append(ack)
        return found

    async def list(self, execution_id: UUID, page: Page) -> Listing[ConsensusLog]:
        """Entries of an execution's log in its own order, the first index first; the cursor is an entry's id."""
        query = select(ConsensusLog).where(
            col(ConsensusLog.tenant_id) == self.tenant_id, col(ConsensusLog.execution_id) == execution_id
        )
        total: int = (await self.session.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
        if page.cursor is not None:
            seen = select(col(ConsensusLog.log_index)).where(
                col(ConsensusLog.tenant_id) == self.tenant_id, col(ConsensusLog.id) == page.cursor
            )
            query = query.where(col(ConsensusLog.log_index) > seen.scalar_subquery())
        query = query.order_by(col(ConsensusLog.log_index)).offset(page.offset).limit(page.limit + 1)
        rows: Sequence[ConsensusLog] = (await self.session.execute(query)).scalars().all()
        more = len(rows) > page.limit
        rows = rows[: page.limit]
        return Listing(rows=rows, total=total, next_cursor=rows[-1].id if more else None)
