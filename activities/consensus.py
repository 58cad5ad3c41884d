"""The activities of handoff consensus: what people and services read of a round, and the validator agents that vote in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import httpx
import structlog
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.adapters.base import ModelEndpoint, Unaffordable
from activities.audit_notes import note_steering
from activities.contracts.handoffs import Validator
from activities.contracts.outputs import as_json
from activities.gateway.gateway import Gateway
from activities.gateway.session import StepSession
from activities.heartbeat import heartbeat
from activities.records import Begun, Records
from activities.step_errors import storable
from activities.steps import StepActivities
from activities.stores.values import Stored
from models.database import Database
from models.repositories.journal import JournalRepository, StepKey
from models.tables import Agent, ConsensusAck, ConsensusLog, ExecutionEvent
from models.tables.base import new_id, now
from models.wire import RoundInput, StepInput, ValidatorsInput
from models.wire_handoff import Vote

log = structlog.get_logger(__name__)

#: Longer reasons are cut.
_REASON: Final = 2000
_TASK: Final = (
    "You decide whether work may be handed to the next agent. Look at what is asked below, then answer with a JSON object: "
    '{"accept": true or false, "reason": "one sentence"}.'
)
_VERDICT: Final[dict[str, Any]] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "schema": {
            "type": "object",
            "properties": {"accept": {"type": "boolean"}, "reason": {"type": "string"}},
            "required": ["accept", "reason"],
            "additionalProperties": False,
        },
    },
}


class ConsensusActivities:
    """Belongs to one event loop."""

    def __init__(self, database: Database, records: Records, gateway: Gateway, steps: StepActivities) -> None:
        self._database = database
        self._records = records
        self._gateway = gateway
        self._steps = steps

    @activity.defn(name="record_round")
    async def record_round(self, told: RoundInput) -> None:
        """Writes a round as it stands. Repeatable; a row that is closed stays as it was closed."""
        async with heartbeat():
            await self._database.run(UUID(told.tenant_id), lambda db: _record(db, told), patience=600)

    @activity.defn(name="ask_validators")
    async def ask_validators(self, asked: ValidatorsInput) -> list[Vote]:
        """The votes of validator agents. Their calls are the step's: journaled, metered, and the same in each term.

        One that cannot be paid for fails with the type `credits` or `budget`, and details that say what it takes.
        """
        async with heartbeat():
            attempt = await self._attempt(asked.step)
            work = await self._steps.prepare(asked.step, Begun(attempt, Stored()))
            if work is None:
                raise ApplicationError("The step is not to be run.", type="validation_error", non_retryable=True)
            ask = await asyncio.to_thread(work.handoff_to, asked.receivers)
            validators = [v for v in (ask.validators if ask else ()) if v.name in asked.voters]
            step = asked.step
            key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
            with self._gateway.session(UUID(step.tenant_id), key, attempt, lambda: None) as session:
                endpoint = self._gateway.endpoint(session)
                said = [await _vote(session, endpoint, validator, asked.term) for validator in validators]

            async def keep(db: AsyncSession) -> None:
                await _keep_reasons(db, asked, said)
                await JournalRepository(db, session.tenant_id).mark_votes(key, session.answered)

            await self._database.run(session.tenant_id, keep)
            return [vote for vote, _ in said]

    async def _attempt(self, step: StepInput) -> int:
        async def work(db: AsyncSession) -> int:
            query = select(col(Agent.attempt)).where(
                col(Agent.tenant_id) == UUID(step.tenant_id),
                col(Agent.execution_id) == UUID(step.execution_id),
                col(Agent.lineage) == step.lineage,
                col(Agent.step_index) == step.step.index,
            )
            return int((await db.execute(query)).scalar_one())

        return await self._database.run(UUID(step.tenant_id), work)


async def _vote(session: StepSession, endpoint: ModelEndpoint, validator: Validator, term: int) -> tuple[Vote, str]:
    """One validator's word, and its reason. A model that gives no verdict refuses; one that is away is no vote at all."""
    request = {
        "model": validator.model or endpoint.default_model,
        "messages": [{"role": "system", "content": _TASK}, {"role": "user", "content": validator.prompt}],
        "response_format": _VERDICT,
    }
    async with httpx.AsyncClient(timeout=None, trust_env=False) as client:  # noqa: S113 - the gateway minds the time
        answer = await client.post(
            f"{endpoint.base_url}/chat/completions",
            json=request,
            headers={"Authorization": f"Bearer {endpoint.api_key}"},
        )
    lack = session.outcome
    if isinstance(lack, Unaffordable):
        details = {"required": lack.required, "budget_id": lack.budget_id}
        raise ApplicationError(str(lack), details, type=lack.failure_type, non_retryable=True)
    if answer.status_code >= 500 or answer.status_code in (402, 429):
        raise ApplicationError("A validator's model does not answer.", type="model_unavailable")
    accept, why = False, f"The model answered {answer.status_code}."
    if answer.status_code < 400:
        accept, why = _verdict(answer)
    # the reason is a model's words about a tenant's data: nothing for the history
    return Vote(validator.name, accept, term, "", "", datetime.now(UTC).isoformat()), why


def _verdict(answer: httpx.Response) -> tuple[bool, str]:
    try:
        said = as_json(answer.json()["choices"][0]["message"]["content"])
    except (json.JSONDecodeError, KeyError, IndexError, TypeError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("accept"), bool):
        return False, "The model gave no verdict."
    reason = said.get("reason")
    return said["accept"], reason[:_REASON] if isinstance(reason, str) else ""


async def _keep_reasons(db: AsyncSession, asked: ValidatorsInput, said: Sequence[tuple[Vote, str]]) -> None:
    """Writes down why validators voted as they did, before the run counts their votes."""
    for vote, reason in said:
        ack = ConsensusAck(
            tenant_id=UUID(asked.step.tenant_id),
            consensus_log_id=UUID(asked.log_id),
            voter=vote.voter,
            kind="validator",
            term=vote.term,
            valid=vote.accept,
            reason=storable(reason) or None,
        ).model_dump()
        await db.execute(insert(ConsensusAck).values(ack).on_conflict_do_nothing())


async def _record(db: AsyncSession, told: RoundInput) -> None:
    round_, tenant, log_id = told.round, UUID(told.tenant_id), UUID(told.log_id)
    proposal = round_.proposal
    accepts = sum(vote.accept for vote in round_.votes.values())
    closed = round_.status != "open"
    row = ConsensusLog(
        id=log_id,
        tenant_id=tenant,
        execution_id=UUID(told.execution_id),
        lineage=told.lineage,
        step_index=told.step.index,
        term=round_.term,
        log_index=round_.index,
        leader=round_.leader,
        sender=proposal.sender,
        receivers=proposal.receivers,
        sender_agent_id=await _step_of(db, told, proposal.sender),
        receiver_agent_id=await _step_of(db, told, proposal.receivers[0]) if proposal.receivers else None,
        message={"name": proposal.name, "step": told.step.name, "payload_hash": proposal.payload_hash},
        payload_hash=proposal.payload_hash,
        voters=[{"name": voter.name, "kind": voter.kind} for voter in proposal.voters],
        status=round_.status,
        consensus_reached=round_.status == "committed",
        acks_received=accepts,
        acks_required=round_.required,
        deadline=datetime.fromtimestamp(told.deadline, UTC) if told.deadline and not closed else None,
        committed_at=now() if round_.status == "committed" else None,
    ).model_dump()
    changing = ("term", "leader", "status", "consensus_reached", "acks_received", "deadline", "committed_at")
    statement = insert(ConsensusLog).values(row)
    statement = statement.on_conflict_do_update(
        index_elements=[col(ConsensusLog.id)],
        set_={name: statement.excluded[name] for name in changing},
        where=col(ConsensusLog.status) == "open",
    )
    made = await db.execute(select(col(ConsensusLog.status)).where(col(ConsensusLog.id) == log_id))
    before = made.scalar_one_or_none()
    await db.execute(statement)
    for term in round_.terms:
        for vote in term.votes.values():
            await _acknowledge(db, told, term.number, vote)
    if before is None:
        await _event(db, told, "handoff.proposed")
    if closed and before in (None, "open"):
        await _event(db, told, f"handoff.{round_.status}")
        # who committed needs the step's row again; it is opened by its next attempt
        ended = update(Agent).where(
            col(Agent.tenant_id) == tenant,
            col(Agent.execution_id) == UUID(told.execution_id),
            col(Agent.lineage) == told.lineage,
            col(Agent.step_index) == told.step.index,
            col(Agent.status) == "waiting",
        )
        await db.execute(ended.values(status="pending"))


async def _step_of(db: AsyncSession, told: RoundInput, name: str) -> UUID | None:
    """The step that waits to begin, for those who take over; else where an agent last acted. None for one that never did,
    or only beside others in one step."""
    of_run = (col(Agent.tenant_id) == UUID(told.tenant_id), col(Agent.execution_id) == UUID(told.execution_id))
    if name in told.round.proposal.receivers:
        waiting = col(Agent.lineage) == told.lineage, col(Agent.step_index) == told.step.index
        return (await db.execute(select(col(Agent.id)).where(*of_run, *waiting))).scalar_one_or_none()
    query = (
        select(col(Agent.id))
        .where(*of_run, col(Agent.name) == name)
        .order_by(col(Agent.lineage).desc(), col(Agent.step_index).desc())
        .limit(1)
    )
    return (await db.execute(query)).scalar_one_or_none()


async def _acknowledge(db: AsyncSession, told: RoundInput, term: int, vote: Vote) -> None:
    kinds = {voter.name: voter.kind for voter in told.round.proposal.voters}
    is_agent = kinds[vote.voter] == "agent"
    ack = ConsensusAck(
        tenant_id=UUID(told.tenant_id),
        consensus_log_id=UUID(told.log_id),
        voter=vote.voter,
        kind=kinds[vote.voter],
        agent_id=await _step_of(db, told, vote.voter) if is_agent else None,
        term=term,
        valid=vote.accept,
        reason=vote.reason or None,
    ).model_dump()
    kept = insert(ConsensusAck).values(ack).on_conflict_do_nothing().returning(col(ConsensusAck.id))
    is_new = (await db.execute(kept)).scalar_one_or_none() is not None
    if is_new and vote.actor:
        await note_steering(
            db,
            told.tenant_id,
            told.execution_id,
            "consensus.acknowledge",
            vote.actor,
            resource=("consensus", UUID(told.log_id)),
            new={"voter": vote.voter, "valid": vote.accept},
        )


async def _event(db: AsyncSession, told: RoundInput, event_type: str) -> None:
    round_ = told.round
    data = {
        "log_id": told.log_id,
        "index": round_.index,
        "term": round_.term,
        "leader": round_.leader,
        "sender": round_.proposal.sender,
        "receivers": round_.proposal.receivers,
        "required": round_.required,
    }
    event = ExecutionEvent(
        id=new_id(),
        tenant_id=UUID(told.tenant_id),
        execution_id=UUID(told.execution_id),
        event_type=event_type,
        data=data,
    )
    await db.execute(insert(ExecutionEvent).values(event.model_dump()))
