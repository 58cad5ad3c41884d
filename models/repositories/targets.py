"""What people and policies call a checkpoint: its id, its name, its number, `last`, `start`, or so many before one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from models.repositories.base import Repository
from models.repositories.lineages import OPEN_END, LineageRepository, bounds_of
from models.tables import Checkpoint, Execution, Lineage
from omium_core.errors import CheckpointNotFound

START, LAST = "start", "last"
_BEFORE = re.compile(r"(.+)-(\d{1,9})")
_NUMBER = re.compile(r"\d{1,9}")


@dataclass(frozen=True)
class Target:
    """A point that a run can go back to. Without a `checkpoint` it is the beginning, before the first step."""

    lineage: int
    number: int
    checkpoint: Checkpoint | None

    @property
    def name(self) -> str:
        return self.checkpoint.checkpoint_name if self.checkpoint else START


class TargetRepository(Repository):
    """Finds checkpoints as seen from where an execution stands. Deleted ones are not found."""

    async def find(self, execution: Execution, reference: str) -> Target:
        """Raises `CheckpointNotFound`.

        A number or a name means the one on the way to where the run stands; a name that is not on it, the newest one.
        `last-2` and `7-2` are two checkpoints earlier; what would be before the first one is the beginning.
        """
        lineages = await LineageRepository(self.session, self.tenant_id).rows(execution.id)
        found = await self._find(execution, lineages, reference.strip())
        if found is None and (before := _BEFORE.fullmatch(reference.strip())):
            anchor = await self._find(execution, lineages, before[1])
            if anchor is not None:
                number = anchor.number - int(before[2])
                found = await self._by_number(execution, lineages, anchor.lineage, number)
        if found is None:
            raise CheckpointNotFound(
                f"The execution has no checkpoint {reference[:100]!r}.", execution_id=str(execution.id)
            )
        return found

    def of(self, checkpoint: Checkpoint, lineages: Sequence[Lineage]) -> Target:
        """The point that a row stands for. The bases of a lineage all stand for its beginning."""
        number = checkpoint.checkpoint_number
        if checkpoint.kind == "base":
            number = next((row.parent_number for row in lineages if row.lineage == checkpoint.lineage), number)
        return Target(checkpoint.lineage, number, checkpoint)

    async def _find(self, execution: Execution, lineages: Sequence[Lineage], reference: str) -> Target | None:
        if reference == START:
            return await self._by_number(execution, lineages, execution.lineage, 0)
        if reference == LAST:
            return await self._by_number(execution, lineages, execution.lineage, execution.checkpoint_count)
        if _NUMBER.fullmatch(reference):
            return await self._by_number(execution, lineages, execution.lineage, int(reference))
        rows = await self._rows(execution, col(Checkpoint.id) == _uuid(reference)) if _uuid(reference) else ()
        if rows:
            return self.of(rows[0], lineages)
        return await self._by_name(execution, lineages, reference)

    async def _by_number(
        self, execution: Execution, lineages: Sequence[Lineage], lineage: int, number: int
    ) -> Target | None:
        bounds = bounds_of(lineages, lineage, OPEN_END)
        rows = await self._rows(execution, col(Checkpoint.checkpoint_number) == number, col(Checkpoint.kind) != "named")
        for place in bounds:
            for row in rows:
                if row.lineage == place and number <= bounds[place] and self.of(row, lineages).number == number:
                    return self.of(row, lineages)
        root = next(reversed(bounds))
        bases = await self._rows(execution, col(Checkpoint.kind) == "base", col(Checkpoint.lineage) == root)
        if number <= 0 or (bases and number < self.of(bases[0], lineages).number):
            # a fork begins where it left its original
            return self.of(bases[0], lineages) if bases else Target(root, 0, None)
        return None

    async def _by_name(self, execution: Execution, lineages: Sequence[Lineage], name: str) -> Target | None:
        rows = await self._rows(execution, col(Checkpoint.checkpoint_name) == name)
        bounds = bounds_of(lineages, execution.lineage, OPEN_END)
        youngest_first = list(bounds)

        def rank(row: Checkpoint) -> tuple[bool, bool, int, int]:
            on_path = row.lineage in bounds and row.checkpoint_number <= bounds[row.lineage]
            place = -youngest_first.index(row.lineage) if on_path else row.lineage
            return row.kind == "named", on_path, place, row.checkpoint_number

        points = [row for row in rows if self.of(row, lineages).number == row.checkpoint_number]
        return self.of(max(points, key=rank), lineages) if points else None

    async def _rows(self, execution: Execution, *conditions: object) -> Sequence[Checkpoint]:
        query = select(Checkpoint).where(
            col(Checkpoint.tenant_id) == self.tenant_id,
            col(Checkpoint.execution_id) == execution.id,
            col(Checkpoint.deleted_at).is_(None),
            *conditions,  # type: ignore[arg-type]
        )
        return (await self.session.execute(query)).scalars().all()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
