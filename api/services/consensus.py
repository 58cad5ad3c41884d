"""Handoff consensus: how the votes of a run stand, and the votes of people and services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from api.auth.principal import Principal
from api.schemas.consensus import Acknowledged, AcknowledgeRequest, AckView, ConsensusLogView
from api.services import commands, idempotency
from api.services.auditing import detailed
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.consensus import ConsensusRepository
from models.repositories.executions import ExecutionRepository
from models.tables import Agent, ConsensusAck, ConsensusLog
from models.wire_commands import AcknowledgeCommand
from omium_core.errors import ConsensusClosed, ConsensusNotFound, InvalidInput, Problem


@dataclass(frozen=True)
class Standing:
    """The log of an execution: a part of its entries, and who leads now."""

    term: int
    leader: str | None
    leader_agent_id: UUID | None
    found: Listing[ConsensusLog]
    entries: list[ConsensusLogView]


class ConsensusService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, execution_id: UUID, page: Page) -> Standing:
        async with self._process.database.transaction(caller.tenant_id) as session:
            executions = ExecutionRepository(session, caller.tenant_id)
            await executions.get(execution_id)
            repository = ConsensusRepository(session, caller.tenant_id)
            found = await repository.list(execution_id, page)
            newest = await repository.newest(execution_id)
            acks = await repository.acks([entry.id for entry in found.rows])
            leader = newest.leader if newest else None
            step = await executions.step_named(execution_id, leader) if leader else None
        entries = [view(entry, acks.get(entry.id, [])) for entry in found.rows]
        return Standing(newest.term if newest else 0, leader, step.id if step else None, found, entries)

    async def acknowledge(
        self, caller: Principal, log_id: UUID, vote: AcknowledgeRequest, key: str | None = None
    ) -> Acknowledged:
        """Counts a vote. The same one again is the same; `ConsensusClosed` when the vote is over."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            entry = await ConsensusRepository(session, caller.tenant_id).get(log_id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(entry.execution_id)
            voter = await self._voter(ExecutionRepository(session, caller.tenant_id), entry, vote.agent_id)
        digest = idempotency.request_hash("acknowledge", log_id, vote.model_dump())
        await idempotency.is_repeated(self._process.database, caller, key, digest, entry.execution_id)
        command = AcknowledgeCommand(
            id=idempotency.command_id("acknowledge", key),
            log_id=str(log_id),
            index=entry.log_index,
            voter=voter,
            valid=vote.valid,
            term=vote.term,
            payload_hash=vote.payload_hash,
            reason=vote.reason,
            actor=caller.name,
        )
        detailed(new={"voter": voter, "valid": vote.valid, "execution_id": entry.execution_id})
        if entry.status != "open":
            return await self._voted_before(caller, log_id, command)
        try:
            result = await commands.send(self._process, execution, "acknowledge_handoff", command)
        except (commands.NoRun, ConsensusClosed, ConsensusNotFound):
            return await self._voted_before(caller, log_id, command)
        read, acks = await self._read(caller, log_id)
        shown = view(read, acks)
        if result is None:
            return _acknowledged(shown, success=False, requested=True, message="The vote is on its way to the run")
        if result.required == 0:
            # the round was closed before the vote was looked at
            return await self._voted_before(caller, log_id, command)
        return Acknowledged(
            success=not result.error or _stands(read, acks, command),
            total_acks=result.acks,
            acks_required=result.required,
            consensus_reached=result.committed,
            acknowledgement_requested=False,
            message=result.error or "Vote counted",
            log=shown,
        )

    async def _voted_before(self, caller: Principal, log_id: UUID, command: AcknowledgeCommand) -> Acknowledged:
        """The answer to a vote that was counted before the round was closed, else `ConsensusClosed`."""
        entry, acks = await self._read(caller, log_id)
        if _stands(entry, acks, command):
            return _acknowledged(view(entry, acks), success=True, requested=False, message="The vote was given before.")
        raise ConsensusClosed(
            f"The handoff is {entry.status} already." if entry.status != "open" else "The run does not vote on it now.",
            log_id=str(log_id),
            status=entry.status,
        )

    async def _read(self, caller: Principal, log_id: UUID) -> tuple[ConsensusLog, list[ConsensusAck]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            repository = ConsensusRepository(session, caller.tenant_id)
            entry = await repository.get(log_id)
            return entry, (await repository.acks([log_id])).get(log_id, [])

    @staticmethod
    async def _voter(executions: ExecutionRepository, entry: ConsensusLog, given: str) -> str:
        """The voter's name, also where the id of its step was given. Raises `InvalidInput` for who has no vote."""
        names = [str(voter.get("name", "")) for voter in entry.voters]
        step: Agent | None = None
        if given not in names:
            step = await executions.find_agent(entry.execution_id, given)
        name = step.name if step is not None else given
        if name not in names:
            message = f"{given!r} has no vote in this handoff; voters are: {', '.join(names)}"
            raise InvalidInput(f"agent_id: {message}", [Problem("agent_id", message)])
        return name


def view(entry: ConsensusLog, acks: Sequence[ConsensusAck]) -> ConsensusLogView:
    return ConsensusLogView(**entry.model_dump(), acks=[AckView(**ack.model_dump()) for ack in acks])


def _stands(entry: ConsensusLog, acks: Sequence[ConsensusAck], command: AcknowledgeCommand) -> bool:
    """Whether this very vote is among those of its term."""
    term = command.term or entry.term
    return any((ack.voter, ack.valid, ack.term) == (command.voter, command.valid, term) for ack in acks)


def _acknowledged(entry: ConsensusLogView, *, success: bool, requested: bool, message: str) -> Acknowledged:
    return Acknowledged(
        success=success,
        total_acks=entry.acks_received,
        acks_required=entry.acks_required,
        consensus_reached=entry.consensus_reached,
        acknowledgement_requested=requested,
        message=message,
        log=entry,
    )
