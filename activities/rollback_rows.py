"""The transactions of a rollback: it begins, it ends, it fails, and what came of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities import next_lineage
from activities.audit_notes import note_steering
from activities.position import load_position
from activities.rollback_plan import left_steps, plan_to
from activities.sources import Continuation, Source, base_rows
from models.repositories.effects import ROLLING_BACK
from models.repositories.executions import ExecutionRepository
from models.repositories.failures import FailureRepository
from models.repositories.lineages import LineageRepository, Path
from models.repositories.parking import ParkingRepository
from models.repositories.recovery import RecoveryRepository
from models.repositories.rollbacks import RollbackRepository
from models.repositories.targets import START, Target, TargetRepository
from models.tables import Checkpoint, Execution, ExecutionEvent, Rollback, User
from models.tables.base import now
from models.wire import RollbackInput, RollbackOutcome
from omium_core.errors import CheckpointNotFound, InvalidInput, RollbackBlocked, RollbackFailed

_TRIGGERS = ("manual", "automatic", "policy")
_REASON_LENGTH = 255


async def find(db: AsyncSession, wish: RollbackInput) -> Rollback | None:
    return await RollbackRepository(db, UUID(wish.tenant_id)).find(UUID(wish.execution_id), wish.command_id)


async def execution_of(db: AsyncSession, wish: RollbackInput) -> Execution:
    return await ExecutionRepository(db, UUID(wish.tenant_id)).get(UUID(wish.execution_id))


async def target_of(db: AsyncSession, execution: Execution, wish: RollbackInput, known: Rollback | None) -> Target:
    """Where a rollback goes; where one that was begun goes is in its row."""
    targets = TargetRepository(db, execution.tenant_id)
    if known is None:
        return await targets.find(execution, wish.checkpoint)
    row = await db.get(Checkpoint, known.to_checkpoint_id)
    if row is None:
        raise CheckpointNotFound("The checkpoint is gone.", checkpoint_id=str(known.to_checkpoint_id))
    if not row.checksum:
        return Target(row.lineage, 0, None)
    return targets.of(row, await LineageRepository(db, execution.tenant_id).rows(execution.id))


async def path_to(db: AsyncSession, source: Source) -> Path:
    lineages = LineageRepository(db, source.execution.tenant_id)
    return await lineages.path(source.execution.id, source.target.lineage, source.target.number)


async def begin(db: AsyncSession, wish: RollbackInput, source: Source) -> Rollback:
    """Writes the rollback down and fences off everybody who works for the present lineage.

    Raises `RollbackBlocked`, and then nothing was done. A rollback of this command that was begun before is given back.
    """
    tenant_id, execution_id = UUID(wish.tenant_id), UUID(wish.execution_id)
    rollbacks = RollbackRepository(db, tenant_id)
    await rollbacks.lock_steps(execution_id)
    execution = await ExecutionRepository(db, tenant_id).get(execution_id, lock=True)
    known = await rollbacks.find(execution_id, wish.command_id)
    if known is not None:
        return known
    if execution.lineage != wish.from_lineage:
        raise RollbackFailed(f"The run stands in lineage {execution.lineage} and not in {wish.from_lineage} any more.")
    if wish.trigger_type not in _TRIGGERS:
        raise InvalidInput(f"trigger_type is one of {', '.join(_TRIGGERS)}.")
    await rollbacks.fence(execution_id, execution.lineage)
    plan = await plan_to(db, execution, source.target)
    if plan.blocked and not wish.confirm:
        raise RollbackBlocked(plan.reason)
    stands_on = await LineageRepository(db, tenant_id).position(execution_id, execution.lineage)
    newest = max(stands_on, key=lambda row: row.checkpoint_number, default=None)
    rollback = Rollback(
        tenant_id=tenant_id,
        execution_id=execution_id,
        command_id=wish.command_id,
        from_checkpoint_id=newest.id if newest else None,
        to_checkpoint_id=(source.target.checkpoint or await _beginning(db, execution, source.target)).id,
        from_lineage=execution.lineage,
        to_lineage=execution.lineage + 1,
        triggered_by=await _user(db, wish),
        trigger_reason=wish.reason[:_REASON_LENGTH],
        trigger_type=wish.trigger_type,
        edits={"blob": wish.edits_blob} if wish.edits_blob else wish.edits or None,
        meta={"reason": execution.reason, "actor": wish.actor},
    )
    db.add(rollback)
    # from here on no effect may begin
    execution.reason, execution.updated_at = ROLLING_BACK, now()
    db.add(execution)
    _event(db, execution, "rollback.started", {"rollback_id": str(rollback.id), "checkpoint": source.target.name})
    await note_steering(
        db,
        tenant_id,
        execution_id,
        "execution.rollback",
        wish.actor,
        new={"rollback_id": str(rollback.id), "trigger": wish.trigger_type, "to_lineage": rollback.to_lineage},
    )
    return rollback


async def complete(db: AsyncSession, wish: RollbackInput, source: Source, to: Continuation) -> None:
    """Begins the next lineage. Does nothing if it was begun before."""
    tenant_id, execution_id = UUID(wish.tenant_id), UUID(wish.execution_id)
    rollbacks, lineages = RollbackRepository(db, tenant_id), LineageRepository(db, tenant_id)
    agents = await rollbacks.lock_steps(execution_id)
    execution = await ExecutionRepository(db, tenant_id).get(execution_id, lock=True)
    rollback = await rollbacks.find(execution_id, wish.command_id, lock=True)
    if rollback is None or rollback.status != "in_progress":
        return
    target = source.target
    here = await lineages.path(execution_id, execution.lineage)
    path = await lineages.path(execution_id, target.lineage, target.number)
    left = left_steps(agents, here, path)
    await rollbacks.close_questions(execution_id, await rollbacks.approvals_beyond(execution_id, here, path))
    await FailureRepository(db, tenant_id).take_up(execution_id)
    recovery = RecoveryRepository(db, tenant_id)
    await recovery.settle(execution_id, wish.command_id)
    await recovery.drop(execution_id)
    for agent in left:
        agent.status = "rolled_back"
    for agent in agents:
        if (agent.lineage, agent.step_index) in path.steps and agent.status == "rolled_back":
            # the run is on this line again
            agent.status = "completed"
    rollback.affected_agents = [agent.id for agent in left if agent.attempt > 0]
    rollback.meta = {**rollback.meta, **next_lineage.left_behind(execution)}
    await ParkingRepository(db, tenant_id).unpark(execution_id)
    rollback.status, rollback.rollback_success, rollback.completed_at = "completed", True, now()
    next_lineage.add_lineage(db, rollback, source, to)
    bases = base_rows(source, to, execution_id=execution_id, lineage=rollback.to_lineage)
    db.add_all(bases)
    next_lineage.add_planned_steps(db, execution, rollback.to_lineage, bases, agents)
    next_lineage.move(execution, rollback, source, to, resume=wish.resume)
    if execution.status == "completed":
        await FailureRepository(db, tenant_id).resolve(execution_id)
    db.add_all([*agents, rollback, execution])
    data = {"rollback_id": str(rollback.id), "checkpoint": target.name, "number": target.number}
    data |= {"from_lineage": rollback.from_lineage, "to_lineage": rollback.to_lineage}
    _event(db, execution, "execution.rolled_back", data)


async def refuse(db: AsyncSession, wish: RollbackInput, ours: str) -> None:
    """The rollback was not begun; if a recovery asked for it, that failed."""
    await RecoveryRepository(db, UUID(wish.tenant_id)).settle(UUID(wish.execution_id), wish.command_id, ours)


async def fail(db: AsyncSession, rollback_id: UUID, tenant_id: UUID, ours: str, said: str) -> None:
    """The run stays where it stood; what was undone stays undone. `ours` may be in a run's history, `said` is a tool's."""
    rollback = await RollbackRepository(db, tenant_id).get(rollback_id)
    execution = await ExecutionRepository(db, tenant_id).get(rollback.execution_id, lock=True)
    if rollback.status != "in_progress":
        return
    told = said.replace("\x00", "").encode(errors="replace").decode()
    rollback.status, rollback.rollback_success, rollback.completed_at = "failed", False, now()
    rollback.error = f"{ours} {told}"
    rollback.meta = {**rollback.meta, "told": ours}
    execution.reason, execution.updated_at = rollback.meta.get("reason"), now()
    db.add_all([rollback, execution])
    await RecoveryRepository(db, tenant_id).settle(execution.id, rollback.command_id, ours)
    _event(db, execution, "rollback.failed", {"rollback_id": str(rollback_id), "why": ours})


async def outcome(db: AsyncSession, tenant_id: UUID, rollback_id: UUID) -> RollbackOutcome:
    """What a rollback that ended left. Told again later, it is where the run stands then."""
    rollback = await RollbackRepository(db, tenant_id).get(rollback_id)
    if rollback.status == "failed":
        told = str(rollback.meta.get("told") or "The rollback failed.")
        return RollbackOutcome(error=told, code=RollbackFailed.code, rollback_id=str(rollback_id))
    execution = await ExecutionRepository(db, tenant_id).get(rollback.execution_id)
    stands = await load_position(db, execution)
    return RollbackOutcome(
        rollback_id=str(rollback_id),
        lineage=execution.lineage,
        definition=stands.definition,
        branches=stands.branches,
        next_index=stands.next_index,
        steps_done=stands.steps_done,
    )


async def _beginning(db: AsyncSession, execution: Execution, target: Target) -> Checkpoint:
    """A row for the beginning of a run, which is no checkpoint: nobody sees it, but a rollback must lead somewhere."""
    row = Checkpoint(
        tenant_id=execution.tenant_id,
        execution_id=execution.id,
        kind="base",
        lineage=target.lineage,
        step_index=-1,
        checkpoint_number=0,
        checkpoint_name=START,
        checksum="",
        state_size_bytes=0,
        next_step=execution.first_step,
        deleted_at=now(),
    )
    db.add(row)
    await db.flush()
    return row


async def _user(db: AsyncSession, wish: RollbackInput) -> UUID | None:
    try:
        user_id = UUID(wish.user_id)
    except ValueError:
        return None
    user = await db.get(User, user_id)
    return user_id if user is not None and user.tenant_id == UUID(wish.tenant_id) else None


def _event(db: AsyncSession, execution: Execution, event_type: str, data: dict[str, Any]) -> None:
    db.add(ExecutionEvent(tenant_id=execution.tenant_id, execution_id=execution.id, event_type=event_type, data=data))
