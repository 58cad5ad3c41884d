"""An execution's history as a tree: what each rollback left behind, what it began, and what was forked from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from activities.stores.values import ValueStore
from api.auth.principal import Principal
from api.schemas.checkpoints import RollbackView
from api.schemas.history import Branching, EffectView, ForkView, LineageTree, LineageView
from api.services.checkpoints import checkpoint_view
from api.services.views import agent_views
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.execution_reads import ExecutionRead, StepRead
from models.repositories.executions import ExecutionRepository
from models.repositories.history import HistoryRepository
from models.repositories.journal import JournalRepository
from models.repositories.lineages import LineageRepository
from models.tables import Checkpoint, Effect, Execution, Lineage, Rollback


class LineageService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def tree(self, caller: Principal, execution_id: UUID) -> LineageTree:
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = caller.tenant_id
            execution = await ExecutionRepository(session, tenant).get(execution_id)
            rows = await LineageRepository(session, tenant).rows(execution_id)
            checkpoints = await CheckpointRepository(session, tenant).of_execution(execution_id)
            agents = await HistoryRepository(session, tenant).agents(execution_id)
            forks = await HistoryRepository(session, tenant).forks(execution_id)
            usage = await JournalRepository(session, tenant).usage([execution_id])
        known = {row.lineage: row for row in rows}
        numbers = sorted({0, execution.lineage, *known, *(agent.lineage for agent in agents)})
        parents = {number: known[number].parent_lineage if number in known else None for number in numbers}
        children = {number: [child for child in numbers if parents[child] == number] for number in numbers}
        steps = agent_views(agents, usage.get(execution_id, []))
        lineages = [
            self._lineage(execution, number, known.get(number), checkpoints, children[number], forks).model_copy(
                update={"steps": [step for step in steps if step.lineage == number]}
            )
            for number in numbers
        ]
        return LineageTree(
            execution_id=execution_id,
            current_lineage=execution.lineage,
            forked_from=execution.forked_from,
            forked_from_checkpoint=execution.forked_from_checkpoint,
            tree=_branching(0, children, execution.lineage),
            lineages=lineages,
        )

    def _lineage(
        self,
        execution: Execution,
        number: int,
        row: Lineage | None,
        checkpoints: Sequence[Checkpoint],
        children: list[int],
        forks: Sequence[Execution],
    ) -> LineageView:
        origin = row.checkpoint_id if row is not None else execution.forked_from_checkpoint if number == 0 else None
        names = {checkpoint.id: checkpoint.checkpoint_name for checkpoint in checkpoints}
        mine = [checkpoint for checkpoint in checkpoints if checkpoint.lineage == number]
        ids = {checkpoint.id for checkpoint in mine}
        return LineageView(
            lineage=number,
            parent_lineage=row.parent_lineage if row else None,
            parent_number=row.parent_number if row else 0,
            checkpoint_id=origin,
            checkpoint_name=names.get(origin) if origin else None,
            rollback_id=row.rollback_id if row else None,
            reason=row.reason if row else "",
            current=number == execution.lineage,
            created_at=row.created_at if row else execution.created_at,
            steps=[],
            checkpoints=[
                checkpoint_view(checkpoint, self._process.settings)
                for checkpoint in mine
                if checkpoint.kind != "base" and checkpoint.deleted_at is None
            ],
            forks=[_fork(fork) for fork in forks if fork.forked_from_checkpoint in ids],
            children=children,
        )

    async def rollbacks(
        self, caller: Principal, execution_id: UUID, page: Page
    ) -> tuple[Listing[Rollback], list[RollbackView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            found = await HistoryRepository(session, caller.tenant_id).rollbacks(execution_id, page)
        return found, [await rollback_view(self._process.values, row) for row in found.rows]

    async def effects(
        self, caller: Principal, execution_id: UUID, page: Page, *, status: str | None
    ) -> Listing[Effect]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            return await HistoryRepository(session, caller.tenant_id).effects(execution_id, page, status=status)


async def present_steps(
    agents: Sequence[StepRead], lineages: LineageRepository, execution: ExecutionRead
) -> Sequence[StepRead]:
    """The steps that led to where an execution stands, out of all that it ever had."""
    if execution.lineage == 0:
        return agents
    path = await lineages.path(execution.id, execution.lineage)
    return [
        agent
        for agent in agents
        if agent.lineage == execution.lineage or (agent.lineage, agent.step_index) in path.steps
    ]


async def rollback_view(values: ValueStore, rollback: Rollback) -> RollbackView:
    edits: Any = rollback.edits
    if isinstance(edits, dict) and edits.keys() == {"blob"}:
        edits = await values.get(str(rollback.tenant_id), edits["blob"])
    # beside these it holds what the lineage that was left had: its inputs and outputs
    told = {name: rollback.meta[name] for name in ("actor", "reason") if name in rollback.meta}
    return RollbackView(**{**rollback.model_dump(exclude={"meta"}), "edits": edits}, metadata=told)


def effect_view(effect: Effect) -> EffectView:
    return EffectView(**effect.model_dump())


def _fork(fork: Execution) -> ForkView:
    return ForkView(
        execution_id=fork.id,
        checkpoint_id=fork.forked_from_checkpoint,
        status=fork.status,
        created_at=fork.created_at,
    )


def _branching(number: int, children: dict[int, list[int]], current: int) -> Branching:
    return Branching(
        lineage=number,
        current=number == current,
        children=[_branching(child, children, current) for child in children[number]],
    )
