"""The lines of a run's history: where a lineage stands, and what led to a point.

A point is a lineage and a number in it. The path to it is that lineage up to this number, its parent up to the number where
it branched off, and so on; a step belongs to a path if its checkpoint does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models.repositories.base import Repository
from models.tables import Checkpoint, Lineage

#: Beyond every number of a checkpoint.
OPEN_END = 2**31 - 1

#: A step as a path knows it: lineage and index.
StepOfLine = tuple[int, int]


@dataclass(frozen=True)
class Path:
    """What led to a point: for each lineage, youngest first, the last number that counts, and the steps."""

    bounds: Mapping[int, int]
    steps: frozenset[StepOfLine]


def bounds_of(rows: Iterable[Lineage], lineage: int, number: int) -> dict[int, int]:
    """For each lineage that leads to a point, youngest first, the last number that counts."""
    known = {row.lineage: row for row in rows}
    bounds = {lineage: number}
    while (row := known.get(lineage)) is not None and row.parent_lineage is not None:
        number = min(number, row.parent_number)
        lineage = row.parent_lineage
        bounds[lineage] = number
    return bounds


class LineageRepository(Repository):
    async def rows(self, execution_id: UUID) -> Sequence[Lineage]:
        """The lineages that began at a checkpoint, oldest first."""
        query = (
            select(Lineage)
            .where(col(Lineage.tenant_id) == self.tenant_id, col(Lineage.execution_id) == execution_id)
            .order_by(col(Lineage.lineage))
        )
        return (await self.session.execute(query)).scalars().all()

    async def get(self, execution_id: UUID, lineage: int) -> Lineage | None:
        query = select(Lineage).where(
            col(Lineage.tenant_id) == self.tenant_id,
            col(Lineage.execution_id) == execution_id,
            col(Lineage.lineage) == lineage,
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def position(self, execution_id: UUID, lineage: int, number: int = OPEN_END) -> list[Checkpoint]:
        """Where a lineage stood at a number, or stands: for each branch that had begun, its last checkpoint."""
        query = (
            select(Checkpoint)
            .where(
                *self._of(execution_id),
                col(Checkpoint.lineage) == lineage,
                col(Checkpoint.kind) != "named",
                col(Checkpoint.checkpoint_number) <= number,
            )
            .order_by(
                col(Checkpoint.branch),
                col(Checkpoint.checkpoint_number).desc(),
                # "step" comes after "base"
                col(Checkpoint.kind).desc(),
            )
            .distinct(col(Checkpoint.branch))
        )
        return list((await self.session.execute(query)).scalars())

    async def path(self, execution_id: UUID, lineage: int, number: int = OPEN_END) -> Path:
        """What led to a point; without a number, to where the lineage stands."""
        bounds = bounds_of(await self.rows(execution_id), lineage, number)
        query = select(col(Checkpoint.lineage), col(Checkpoint.step_index), col(Checkpoint.checkpoint_number)).where(
            *self._of(execution_id), col(Checkpoint.kind) == "step", col(Checkpoint.lineage).in_(list(bounds))
        )
        found = (await self.session.execute(query)).all()
        return Path(bounds, frozenset((row[0], row[1]) for row in found if row[2] <= bounds[row[0]]))

    def _of(self, execution_id: UUID) -> tuple[Any, ...]:
        return col(Checkpoint.tenant_id) == self.tenant_id, col(Checkpoint.execution_id) == execution_id
