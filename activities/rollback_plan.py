"""What a rollback would do: found out by looking, and carried out as found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import JsonObject
from models.repositories.effects import EffectRepository, lost_on, standing_beyond
from models.repositories.executions import ExecutionRepository
from models.repositories.history import HistoryRepository
from models.repositories.journal import JournalRepository, StepUsage
from models.repositories.lineages import LineageRepository, Path
from models.repositories.rollbacks import RollbackRepository, is_left
from models.repositories.targets import Target, TargetRepository
from models.tables import Agent, Effect, Execution


@dataclass(frozen=True)
class PlannedEffect:
    """One effect. `key` is what its tool was given, `status` where it stands now: what is `pending` may not have happened."""

    id: str
    tool: str
    inverse: str | None
    lineage: int
    step_index: int
    step: str
    key: str
    status: str


@dataclass(frozen=True)
class PlannedApproval:
    id: str
    title: str
    step: str
    status: str


@dataclass(frozen=True)
class PlannedStep:
    index: int
    name: str
    lineage: int
    branch: str


@dataclass(frozen=True)
class Amount:
    """What calls came to; `cost` in millionths of a credit."""

    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost: int = 0


@dataclass(frozen=True)
class PlannedCheckpoint:
    """Where the run goes back to; without an id it is the beginning."""

    id: str | None
    name: str
    number: int
    lineage: int


@dataclass(frozen=True)
class RollbackPlan:
    """What a rollback undoes (`undo`, newest first), what it cannot undo, and what falls with the steps that are left.

    `lost` are effects that the checkpoint's state believes in and that were undone before. `spent` is what the steps that
    are left have used, `again` what doing them again will use if it goes as before. `blocked` says that the rollback is
    done only if somebody confirms that what is irreversible stays.
    """

    execution_id: str
    checkpoint: PlannedCheckpoint
    from_lineage: int
    to_lineage: int
    undo: tuple[PlannedEffect, ...]
    irreversible: tuple[PlannedEffect, ...]
    lost: tuple[PlannedEffect, ...]
    approvals: tuple[PlannedApproval, ...]
    steps: tuple[PlannedStep, ...]
    spent: Amount
    again: Amount
    blocked: bool
    reason: str

    def to_json(self) -> JsonObject:
        return asdict(self)


async def plan_rollback(session: AsyncSession, tenant_id: UUID, execution_id: UUID, checkpoint: str) -> RollbackPlan:
    """The plan for going back to a checkpoint, named as `TargetRepository.find` understands it. Changes nothing.

    Raises `ExecutionNotFound` and `CheckpointNotFound`.
    """
    execution = await ExecutionRepository(session, tenant_id).get(execution_id)
    target = await TargetRepository(session, tenant_id).find(execution, checkpoint)
    return await plan_to(session, execution, target)


async def plan_to(session: AsyncSession, execution: Execution, target: Target) -> RollbackPlan:
    tenant_id = execution.tenant_id
    lineages = LineageRepository(session, tenant_id)
    here = await lineages.path(execution.id, execution.lineage)
    path = await lineages.path(execution.id, target.lineage, target.number)
    effects = await EffectRepository(session, tenant_id).of_run(execution.id)
    agents = await HistoryRepository(session, tenant_id).agents(execution.id)
    names = {(agent.lineage, agent.step_index): agent.name for agent in agents}
    standing = standing_beyond(effects, path)
    approvals = await RollbackRepository(session, tenant_id).approvals_beyond(execution.id, here, path)
    usage = await JournalRepository(session, tenant_id).usage([execution.id])
    spent = _sum(step for step in usage.get(execution.id, []) if is_left((step.lineage, step.step_index), here, path))
    irreversible = tuple(_effect(effect, names) for effect in standing if not effect.reversible)
    return RollbackPlan(
        execution_id=str(execution.id),
        checkpoint=PlannedCheckpoint(
            str(target.checkpoint.id) if target.checkpoint else None, target.name, target.number, target.lineage
        ),
        from_lineage=execution.lineage,
        to_lineage=execution.lineage + 1,
        undo=tuple(_effect(effect, names) for effect in standing if effect.reversible),
        irreversible=irreversible,
        lost=tuple(_effect(effect, names) for effect in lost_on(effects, path)),
        approvals=tuple(PlannedApproval(str(a.id), a.title, a.step_name, a.status) for a in approvals),
        steps=tuple(
            PlannedStep(agent.step_index, agent.name, agent.lineage, agent.branch)
            for agent in left_steps(agents, here, path)
            if agent.attempt > 0
        ),
        spent=spent,
        again=spent,
        blocked=bool(irreversible),
        reason=_reason(irreversible),
    )


def left_steps(agents: Iterable[Agent], here: Path, path: Path) -> list[Agent]:
    """The steps of the line that is left, those that were only planned too."""
    return [agent for agent in agents if is_left((agent.lineage, agent.step_index), here, path)]


def _effect(effect: Effect, names: Mapping[tuple[int, int], str]) -> PlannedEffect:
    return PlannedEffect(
        id=str(effect.id),
        tool=effect.tool,
        inverse=effect.inverse,
        lineage=effect.lineage,
        step_index=effect.step_index,
        step=names.get((effect.lineage, effect.step_index), ""),
        key=effect.idempotency_key,
        status=effect.status,
    )


def _sum(steps: Iterable[StepUsage]) -> Amount:
    total = Amount()
    for step in steps:
        total = Amount(
            total.model_calls + step.model_calls,
            total.tool_calls + step.tool_calls,
            total.tokens + step.tokens,
            total.cost + step.cost,
        )
    return total


def _reason(irreversible: Iterable[PlannedEffect]) -> str:
    told = sorted({f"{effect.tool} (step {effect.step or effect.step_index})" for effect in irreversible})
    return f"What was done cannot be undone: {', '.join(told)}." if told else ""
