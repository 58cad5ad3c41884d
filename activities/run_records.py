"""The database side of a run as a whole: it parks, goes on, fails, recovers, ends.

Each method is one transaction, and repeatable: a worker may die after the commit and before it could say so.
"""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity

from activities import failures, questions
from activities.adapters.base import JsonObject
from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.audit_notes import note_steering
from activities.heartbeat import heartbeat
from activities.policies.texts import filled
from activities.records import Records
from activities.stores.values import Stored, ValueStore
from models.database import Database
from models.repositories.executions import ExecutionRepository
from models.repositories.failures import FailureRepository
from models.repositories.parking import MONEY, ParkingRepository
from models.repositories.queue import is_waiting
from models.repositories.recovery import RecoveryRepository
from models.repositories.steps import NAME_LENGTH
from models.tables import Agent, Approval, ConsensusLog, Execution, ExecutionEvent, Failure, RecoveryAction
from models.tables.base import new_id, now
from models.wire import FailureInput, FinishInput, StateInput, Step
from models.wire_commands import FUNDS
from omium_core.credits import to_credits

#: How long, in seconds, a write of this kind is tried while the database is away.
PATIENCE = 600.0
#: Reasons of a pause that somebody has to end.
_HOLDS = ("operator", "recovery", *MONEY)
_OPEN = ("pending", "running", "paused", "rolled_back")
Of = StateInput | FinishInput | FailureInput


class RunRecords:
    """The activities that record what became of a run. Belongs to one event loop."""

    def __init__(self, database: Database, values: ValueStore, records: Records) -> None:
        self._database = database
        self._values = values
        self._records = records

    @activity.defn(name="record_state")
    async def record_state(self, state: StateInput) -> None:
        """The run parks or goes on."""
        async with heartbeat():
            await self._database.run(UUID(state.tenant_id), lambda db: _record_state(db, state), patience=PATIENCE)
        if state.status != "running":
            self._records.place_freed(state.tenant_id)

    @activity.defn(name="record_failure")
    async def record_failure(self, failure: FailureInput) -> None:
        """A step failed for good, and this is what is done about it."""
        async with heartbeat():
            await self._database.run(
                UUID(failure.tenant_id), lambda db: _record_failure(db, failure), patience=PATIENCE
            )

    @activity.defn(name="finish_run")
    async def finish_run(self, end: FinishInput) -> None:
        """Records the end of a run that no step could record: it failed, was cancelled, was a flow, or went back to its end."""
        async with heartbeat():
            await self.finish(end)

    async def finish(self, end: FinishInput) -> None:
        """A run that ended before, or was taken up since, stays as it is."""
        outputs = await self._outputs(end) if end.is_flow else None
        await self._database.run(UUID(end.tenant_id), lambda db: _finish(db, end, outputs), patience=PATIENCE)
        self._records.place_freed(end.tenant_id)

    async def _outputs(self, end: FinishInput) -> Stored:
        """What a flow gives: made of the states that its nodes ended with."""
        definition = await self._definition(end)
        ends = {node: await self._values.get(end.tenant_id, blob) for node, blob in end.ends.items()}
        return await self._values.keep(end.tenant_id, FLOW.outputs(definition, ends))

    async def _definition(self, end: FinishInput) -> JsonObject:
        if end.definition:
            return cast("JsonObject", json.loads(await self._values.get(end.tenant_id, end.definition)))

        async def work(db: AsyncSession) -> UUID:
            query = select(col(Execution.version_id)).where(*_is(end))
            return (await db.execute(query)).scalar_one()

        version_id = await self._database.run(UUID(end.tenant_id), work)
        return await self._records.version(end.tenant_id, str(version_id))


async def cancel_waiting(database: Database, tenant_id: UUID, execution_id: UUID, reason: str) -> bool:
    """Ends an execution that waits for its turn, so that it never begins. False when its turn has come meanwhile."""

    async def work(db: AsyncSession) -> bool:
        execution = await ExecutionRepository(db, tenant_id).get(execution_id, lock=True)
        if not is_waiting(execution):
            return False
        end = FinishInput(
            tenant_id=str(tenant_id),
            execution_id=str(execution_id),
            lineage=execution.lineage,
            retry=execution.retry_count,
            status="cancelled",
            message=reason,
        )
        await _finish(db, end, None)
        return True

    return await database.run(tenant_id, work)


async def _record_state(db: AsyncSession, state: StateInput) -> None:
    parked = state.status != "running"
    lacks = state.status == "paused" and state.reason in MONEY
    stood = (await db.execute(select(col(Execution.status), col(Execution.reason)).where(*_is(state)))).one_or_none()
    statement = (
        update(Execution)
        .where(
            *_is(state),
            col(Execution.lineage) == state.lineage,
            col(Execution.retry_count) == state.retry,
            col(Execution.status).in_(_OPEN),
        )
        .values(
            status=state.status,
            reason=state.reason or None,
            paused_at=now() if state.status == "paused" else None,
            updated_at=now(),
        )
        .returning(col(Execution.id))
    )
    if (await db.execute(statement)).scalar_one_or_none() is None:
        return
    # the row of a step that was about to begin says so
    before, after = ("running", "waiting") if parked else ("waiting", "running")
    steps = (*_of_lineage(state), col(Agent.status) == before)
    if not parked:
        steps = (*steps, ~_waits_for_people())
    await db.execute(update(Agent).where(*steps).values(status=after))
    event_type = {"paused": "execution.paused", "running": "execution.resumed"}.get(state.status, "execution.waits")
    data: dict[str, Any] = {"reason": state.reason, "by": state.actor, "note": state.note}
    parking = ParkingRepository(db, UUID(state.tenant_id))
    if lacks:
        budget_id = UUID(state.budget_id) if state.budget_id else None
        await parking.park(UUID(state.execution_id), state.reason, state.required, budget_id)
        event_type = "execution.waits"
        data |= {"required": to_credits(state.required), "budget_id": state.budget_id}
    else:
        await parking.unpark(UUID(state.execution_id))
    await _event(db, state, event_type, {name: value for name, value in data.items() if value})
    if state.status == "paused" and state.reason == "operator":
        await note_steering(
            db, state.tenant_id, state.execution_id, "execution.pause", state.actor, new={"reason": state.note}
        )
    elif state.actor == FUNDS and not parked:
        # nobody did it
        return
    elif stood is not None and _is_held(stood.status, stood.reason) and not _is_held(state.status, state.reason):
        # also one that goes back to waiting for an answer or a vote
        await note_steering(db, state.tenant_id, state.execution_id, "execution.resume", state.actor)


def _is_held(status: str, reason: str | None) -> bool:
    """Whether it stands still until somebody says otherwise."""
    return status == "rolled_back" or reason in _HOLDS


def _waits_for_people() -> ColumnElement[bool]:
    """Whether a step's row has a question or a vote open."""
    asked = exists().where(
        col(Approval.execution_id) == col(Agent.execution_id),
        col(Approval.lineage) == col(Agent.lineage),
        col(Approval.step_index) == col(Agent.step_index),
        col(Approval.status) == "pending",
    )
    voted = exists().where(
        col(ConsensusLog.execution_id) == col(Agent.execution_id),
        col(ConsensusLog.lineage) == col(Agent.lineage),
        col(ConsensusLog.step_index) == col(Agent.step_index),
        col(ConsensusLog.status) == "open",
    )
    return asked | voted


async def _record_failure(db: AsyncSession, failure: FailureInput) -> None:
    tenant, execution = UUID(failure.tenant_id), UUID(failure.execution_id)
    known = select(col(RecoveryAction.id)).where(
        col(RecoveryAction.execution_id) == execution, col(RecoveryAction.command_id) == failure.command_id
    )
    if (await db.execute(known)).scalar_one_or_none() is not None:
        return
    status = "escalated" if failure.escalated else "in_progress"
    row = await _failure(db, failure, failure.step, failure.lineage)
    row.recovery_status, row.recovery_action = status, failure.action
    row.checkpoint_id = UUID(failure.checkpoint) if failure.checkpoint else None
    db.add(row)
    await db.flush()
    at_once = failure.reset or failure.escalated
    db.add(
        RecoveryAction(
            tenant_id=tenant,
            execution_id=execution,
            failure_id=row.id,
            command_id=failure.command_id,
            action_type=failure.action,
            action_config=await _with_texts(db, failure),
            status="completed" if at_once else "in_progress",
            success=True if at_once else None,
            started_at=now(),
            completed_at=now() if at_once else None,
            meta={"why": failure.note} if failure.note else {},
        )
    )
    if at_once:
        step = (*_of_lineage(failure), col(Agent.step_index) == failure.step.index)
        await db.execute(update(Agent).where(*step).values(failures=0))
        await questions.reopen(db, tenant, execution, failure.lineage, failure.step.index)
    data = {"failure_id": str(row.id), "failure_type": failure.failure_type, "action": failure.action}
    await _event(db, failure, "recovery.action", {**data, "step": failure.step.index, "why": failure.note})


async def _with_texts(db: AsyncSession, failure: FailureInput) -> dict[str, Any]:
    """What was done, with the prompts that a run does not carry."""
    config = failure.action_config
    if not config.get("prompts"):
        return config
    policy: JsonObject | None = (await db.execute(select(col(Execution.policy)).where(*_is(failure)))).scalar_one()
    return {**config, "prompts": filled(config["prompts"], policy, config.get("source", ""))}


async def _finish(db: AsyncSession, end: FinishInput, outputs: Stored | None) -> None:
    is_open = (*_is(end), col(Execution.status).in_(_OPEN), col(Execution.retry_count) == end.retry)
    failure = await _failure(db, end, end.step, end.lineage) if end.status == "failed" else None
    # Steps before their execution, in the order in which the end of a step locks them. Again until there is none: a step
    # that ended meanwhile has written the row of the next one, which the statement that waited for it does not see.
    under_way = (
        update(Agent)
        .where(
            *_of_lineage(end),
            col(Agent.status).in_(("running", "waiting")),
            select(col(Execution.id)).where(*is_open).exists(),
        )
        .values(status=end.status, completed_at=now())
        .returning(col(Agent.id))
    )
    while (await db.execute(under_way)).scalars().all():
        pass
    values: dict[str, Any] = {
        "status": end.status,
        "reason": None,
        "completed_at": now(),
        "updated_at": now(),
        "error_message": failure.error_message if failure else None,
    }
    if outputs is not None:
        values |= {"outputs": outputs.inline, "outputs_blob": outputs.blob}
    ended = update(Execution).where(*is_open).values(values).returning(col(Execution.id))
    if (await db.execute(ended)).scalar_one_or_none() is None:
        return
    await db.execute(
        update(Approval)
        .where(col(Approval.execution_id) == UUID(end.execution_id), col(Approval.status) == "pending")
        .values(status="cancelled", answered_at=now())
    )
    data = {"failure_type": end.failure_type} if end.failure_type else {}
    if end.status == "cancelled" and end.message:
        data["reason"] = end.message
    await _event(db, end, f"execution.{end.status}", data)
    if end.status == "cancelled" or end.failure_type == "workflow_ended":
        action = "execution.cancel" if end.status == "cancelled" else "execution.terminate"
        await note_steering(
            db, end.tenant_id, end.execution_id, action, end.actor, new={"reason": data.get("reason") or end.message}
        )
    await ParkingRepository(db, UUID(end.tenant_id)).unpark(UUID(end.execution_id))
    await RecoveryRepository(db, UUID(end.tenant_id)).drop(UUID(end.execution_id))
    of_run = FailureRepository(db, UUID(end.tenant_id))
    if failure is not None:
        await of_run.leave(UUID(end.execution_id))
        db.add(failure)
    else:
        await of_run.resolve(UUID(end.execution_id))


async def _failure(db: AsyncSession, of: FinishInput | FailureInput, step: Step | None, lineage: int) -> Failure:
    """The row of a failure: what the step's row tells of it, else our own words."""
    meaning = failures.advice(of.failure_type)
    agent: Agent | None = None
    if step is not None:
        query = select(Agent).where(*_of_lineage(of), col(Agent.step_index) == step.index)
        agent = (await db.execute(query)).scalar_one_or_none()
    told = (agent.error if agent else None) or of.message
    message, trace = failures.split_trace(told)
    return Failure(
        tenant_id=UUID(of.tenant_id),
        execution_id=UUID(of.execution_id),
        agent_id=agent.id if agent else None,
        lineage=lineage,
        step_index=step.index if step else None,
        step_name=step.name[:NAME_LENGTH] if step else None,
        failure_type=of.failure_type,
        severity=of.severity or meaning.severity,
        error_message=message,
        stack_trace=trace,
        root_cause=of.message,
        recovery_suggestion=meaning.suggestion,
        is_recoverable=of.recoverable,
    )


def _is(of: Of) -> tuple[ColumnElement[bool], ...]:
    return col(Execution.tenant_id) == UUID(of.tenant_id), col(Execution.id) == UUID(of.execution_id)


def _of_lineage(of: Of) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Agent.tenant_id) == UUID(of.tenant_id),
        col(Agent.execution_id) == UUID(of.execution_id),
        col(Agent.lineage) == of.lineage,
    )


async def _event(db: AsyncSession, of: Of, event_type: str, data: dict[str, Any]) -> None:
    event = ExecutionEvent(
        id=new_id(), tenant_id=UUID(of.tenant_id), execution_id=UUID(of.execution_id), event_type=event_type, data=data
    )
    await db.execute(insert(ExecutionEvent).values(event.model_dump()))
