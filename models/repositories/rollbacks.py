"""Rollbacks: one row for each that was begun, found again by the command that asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import case, select, update
from sqlmodel import col

from models.repositories.base import Repository
from models.repositories.lineages import Path
from models.tables import Agent, Approval, ConsensusLog, Rollback
from models.tables.base import now
from omium_core.errors import NotFound

#: Statuses of a step that is over and stays as it is.
_OVER = ("completed", "skipped")


@dataclass(frozen=True)
class Kept:
    """A value in its row or in the object store."""

    inline: Any = None
    blob: str | None = None


@dataclass(frozen=True)
class LeftBehind:
    """What a lineage had when it was left. `outputs` only if it had ended."""

    inputs: Kept
    outputs: Kept | None


class RollbackRepository(Repository):
    async def find(self, execution_id: UUID, command_id: str, *, lock: bool = False) -> Rollback | None:
        query = select(Rollback).where(
            col(Rollback.tenant_id) == self.tenant_id,
            col(Rollback.execution_id) == execution_id,
            col(Rollback.command_id) == command_id,
        )
        return (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()

    async def get(self, rollback_id: UUID) -> Rollback:
        query = select(Rollback).where(col(Rollback.tenant_id) == self.tenant_id, col(Rollback.id) == rollback_id)
        rollback = (await self.session.execute(query)).scalar_one_or_none()
        if rollback is None:
            raise NotFound(f"Rollback {rollback_id} does not exist.", rollback_id=str(rollback_id))
        return rollback

    async def left_behind(self, execution_id: UUID, lineage: int) -> LeftBehind | None:
        """What a lineage had when a rollback left it for the last time; None if none has."""
        query = (
            select(Rollback)
            .where(
                col(Rollback.tenant_id) == self.tenant_id,
                col(Rollback.execution_id) == execution_id,
                col(Rollback.from_lineage) == lineage,
                col(Rollback.status) == "completed",
            )
            .order_by(col(Rollback.id).desc())
            .limit(1)
        )
        rollback: Rollback | None = (await self.session.execute(query)).scalar_one_or_none()
        if rollback is None:
            return None
        outputs = rollback.meta.get("outputs")
        return LeftBehind(Kept(**rollback.meta["inputs"]), Kept(**outputs) if outputs else None)

    async def lock_steps(self, execution_id: UUID) -> Sequence[Agent]:
        """All steps of a run, locked in the order in which the end of a step locks them: before their execution."""
        query = (
            select(Agent)
            .where(col(Agent.tenant_id) == self.tenant_id, col(Agent.execution_id) == execution_id)
            .order_by(col(Agent.lineage), col(Agent.step_index))
        )
        return (await self.session.execute(query.with_for_update())).scalars().all()

    async def fence(self, execution_id: UUID, lineage: int) -> None:
        """No attempt of the lineage that was begun may act or end any more."""
        await self.session.execute(
            update(Agent)
            .where(
                col(Agent.tenant_id) == self.tenant_id,
                col(Agent.execution_id) == execution_id,
                col(Agent.lineage) == lineage,
                # nobody works for a step that was only planned
                col(Agent.attempt) > 0,
                col(Agent.status).notin_(_OVER),
            )
            .values(
                attempt=col(Agent.attempt) + 1,
                status=case((col(Agent.status) == "running", "pending"), else_=col(Agent.status)),
            )
        )

    async def approvals_beyond(self, execution_id: UUID, here: Path, path: Path) -> list[Approval]:
        """Questions of the line that is left, asked by steps that do not belong to a path, oldest first."""
        query = (
            select(Approval)
            .where(
                col(Approval.tenant_id) == self.tenant_id,
                col(Approval.execution_id) == execution_id,
                col(Approval.status) != "cancelled",
            )
            .order_by(col(Approval.id))
        )
        rows: Sequence[Approval] = (await self.session.execute(query)).scalars().all()
        return [row for row in rows if is_left((row.lineage, row.step_index), here, path)]

    async def close_questions(self, execution_id: UUID, approvals: Sequence[Approval]) -> None:
        """Nobody is asked or votes for what was left: open approvals and rounds are closed."""
        for approval in approvals:
            if approval.status == "pending":
                approval.status, approval.answered_at = "cancelled", now()
                self.session.add(approval)
        await self.session.execute(
            update(ConsensusLog)
            .where(
                col(ConsensusLog.tenant_id) == self.tenant_id,
                col(ConsensusLog.execution_id) == execution_id,
                col(ConsensusLog.status) == "open",
            )
            .values(status="cancelled")
        )


def is_left(step: tuple[int, int], here: Path, path: Path) -> bool:
    """Whether a step is on the line where a run stands, and not on the path that it goes back to.

    Steps of the present lineage that have no checkpoint yet are on that line too.
    """
    present = next(iter(here.bounds))
    return (step in here.steps or step[0] == present) and step not in path.steps
