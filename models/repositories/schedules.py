"""A tenant's schedules and what came of them; for the workers, those that Temporal does not have as they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.tables import Execution, Schedule, ScheduleCommand, ScheduleRun
from models.tables.base import now
from omium_core.errors import IdempotencyConflict, ScheduleNotFound

#: A run of a schedule, and the status that its execution has now.
Fired = tuple[ScheduleRun, str | None]


class ScheduleRepository(Repository):
    async def add(self, schedule: Schedule) -> None:
        self.session.add(schedule)
        await self.session.flush()

    async def find(self, schedule_id: UUID, *, lock: bool = False, deleted: bool = False) -> Schedule | None:
        """One of the tenant; those that were deleted are there for who takes them out of Temporal only."""
        query = select(Schedule).where(col(Schedule.tenant_id) == self.tenant_id, col(Schedule.id) == schedule_id)
        if not deleted:
            query = query.where(col(Schedule.deleted_at).is_(None))
        return (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()

    async def get(self, schedule_id: UUID, *, lock: bool = False) -> Schedule:
        found = await self.find(schedule_id, lock=lock)
        if found is None:
            raise ScheduleNotFound(f"Schedule {schedule_id} does not exist.", schedule_id=str(schedule_id))
        return found

    async def list(
        self, page: Page, *, workflow_id: UUID | None = None, paused: bool | None = None
    ) -> Listing[Schedule]:
        query = select(Schedule).where(col(Schedule.tenant_id) == self.tenant_id, col(Schedule.deleted_at).is_(None))
        if workflow_id is not None:
            query = query.where(col(Schedule.workflow_id) == workflow_id)
        if paused is not None:
            query = query.where(col(Schedule.paused) == paused)
        return await self._page(query, Schedule, page)

    async def count(self) -> int:
        query = select(func.count()).where(
            col(Schedule.tenant_id) == self.tenant_id, col(Schedule.deleted_at).is_(None)
        )
        return int((await self.session.execute(query)).scalar_one())

    async def change(self, schedule: Schedule) -> None:
        """Keeps what was set on it as its next revision."""
        schedule.revision += 1
        schedule.updated_at = now()
        self.session.add(schedule)
        await self.session.flush()

    async def delete(self, schedule: Schedule) -> None:
        await self.session.delete(schedule)
        await self.session.flush()

    async def run_at(self, schedule_id: UUID, scheduled_at: datetime) -> ScheduleRun | None:
        """What came of one time."""
        query = select(ScheduleRun).where(
            col(ScheduleRun.tenant_id) == self.tenant_id,
            col(ScheduleRun.schedule_id) == schedule_id,
            col(ScheduleRun.scheduled_at) == scheduled_at,
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def runs(self, schedule_id: UUID, page: Page) -> tuple[Listing[ScheduleRun], Sequence[Fired]]:
        query = select(ScheduleRun).where(
            col(ScheduleRun.tenant_id) == self.tenant_id, col(ScheduleRun.schedule_id) == schedule_id
        )
        found = await self._page(query, ScheduleRun, page)
        return found, await self._with_status(found.rows)

    async def _with_status(self, rows: Sequence[ScheduleRun]) -> Sequence[Fired]:
        started = [row.execution_id for row in rows if row.execution_id is not None]
        query = select(col(Execution.id), col(Execution.status)).where(
            col(Execution.tenant_id) == self.tenant_id, col(Execution.id).in_(started)
        )
        status = {row[0]: row[1] for row in await self.session.execute(query)} if started else {}
        return [(row, None if row.execution_id is None else status.get(row.execution_id)) for row in rows]

    async def claim(self, key: str, request_hash: str) -> bool:
        """Whether a command with this key is the first. `IdempotencyConflict` if the key came with another request."""
        values = {"tenant_id": self.tenant_id, "key": key, "request_hash": request_hash, "created_at": now()}
        statement = insert(ScheduleCommand).values(values).on_conflict_do_nothing().returning(col(ScheduleCommand.key))
        if (await self.session.execute(statement)).scalar_one_or_none() is not None:
            return True
        query = select(col(ScheduleCommand.request_hash)).where(
            col(ScheduleCommand.tenant_id) == self.tenant_id, col(ScheduleCommand.key) == key
        )
        if (await self.session.execute(query)).scalar_one() != request_hash:
            raise IdempotencyConflict("This Idempotency-Key was used for another request.")
        return False


async def schedules_not_synced(
    session: AsyncSession, *, older_than: float, limit: int = 100
) -> list[tuple[UUID, UUID]]:
    """Tenants and ids of schedules that changed `older_than` seconds ago or earlier, and that Temporal has otherwise."""
    query = (
        select(col(Schedule.tenant_id), col(Schedule.id))
        .where(
            col(Schedule.synced_revision) < col(Schedule.revision),
            col(Schedule.updated_at) < now() - timedelta(seconds=older_than),
        )
        .order_by(col(Schedule.id))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def schedules_after(session: AsyncSession, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """Tenants and ids of the next schedules, in the order of their ids."""
    query = select(col(Schedule.tenant_id), col(Schedule.id)).order_by(col(Schedule.id)).limit(limit)
    if after is not None:
        query = query.where(col(Schedule.id) > after)
    return [(row[0], row[1]) for row in await session.execute(query)]
