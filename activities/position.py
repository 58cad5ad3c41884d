"""Where a run stands, read from its rows: what a Temporal run begins with, and what a rollback leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.executions import ExecutionRepository
from models.repositories.lineages import LineageRepository
from models.tables import Agent, Checkpoint, ConsensusLog, Execution, RecoveryAction
from models.wire import Branch, CheckpointRef, FlowNode, Step

#: Statuses of a step that does not run again.
_ENDED = ("completed", "skipped", "rolled_back")


@dataclass(frozen=True)
class Position:
    """Without `branches` the run is at its beginning. `definition` is the blob of an edited one."""

    branches: list[Branch] = field(default_factory=list)
    definition: str = ""
    #: The index of the next step that begins, and of the last entry of the consensus log.
    next_index: int = 0
    log_index: int = 0
    steps_done: int = 0
    #: How often something was done about a failure of the run.
    recoveries: int = 0


def is_new(execution: Execution) -> bool:
    """Whether an execution never ran: it begins at its beginning."""
    return execution.status == "pending" and not (execution.retry_count or execution.lineage or execution.forked_from)


async def load_position(session: AsyncSession, execution: Execution) -> Position:
    """Where the present lineage of an execution stands."""
    if is_new(execution):
        return Position()
    lineages = LineageRepository(session, execution.tenant_id)
    rows = await lineages.position(execution.id, execution.lineage)
    agents = await ExecutionRepository(session, execution.tenant_id).agents(execution.id, execution.lineage)
    lineage = await lineages.get(execution.id, execution.lineage)
    branches = branches_of(execution, rows, agents, await _committed(session, execution))
    return Position(
        branches=branches,
        definition=lineage.definition_blob or "" if lineage else "",
        next_index=next_index(rows, agents),
        log_index=await _last_entry(session, execution),
        steps_done=execution.steps_done,
        recoveries=await _recoveries(session, execution),
    )


def branches_of(
    execution: Execution,
    rows: Sequence[Checkpoint],
    agents: Iterable[Agent] = (),
    committed: Mapping[int, int] | None = None,
) -> list[Branch]:
    """The branches of a run that stands at these checkpoints.

    `agents` are the steps of the lineage: one that had begun goes on under its index, so that its answered calls are found
    again. `committed` are the handoffs that were agreed, by the index of their step.
    """
    standing = {row.branch: row for row in rows}
    steps = list(agents)
    if not execution.flow:
        first = Step(next_index(rows, ()), execution.first_step)
        branch = _branch(Branch(execution.framework, step=first), standing.get(""), steps, committed or {})
        return [branch]
    found: dict[str, Branch] = {}
    nodes = flow_nodes(execution)
    for node in nodes:
        fresh = Branch(node.framework, node.id, "blocked", Step(0, node.first_step))
        found[node.id] = _branch(fresh, standing.get(node.id), steps, committed or {})
    for node in nodes:
        branch = found[node.id]
        if branch.status == "blocked" and all(found[name].status in ("done", "skipped") for name in node.depends_on):
            branch.status = "ready"
    return list(found.values())


def flow_nodes(execution: Execution) -> list[FlowNode]:
    return [FlowNode(**node) for node in execution.flow or ()]


def next_index(rows: Iterable[Checkpoint], agents: Iterable[Agent]) -> int:
    """The index that no step of a lineage has had yet; planned steps have had none."""
    used = [row.step_index for row in rows] + [agent.step_index for agent in agents if agent.attempt > 0]
    return max(used, default=-1) + 1


def reference(row: Checkpoint) -> CheckpointRef:
    return CheckpointRef(str(row.id), row.checkpoint_number, row.checksum, row.state_size_bytes)


def _branch(branch: Branch, row: Checkpoint | None, agents: list[Agent], committed: Mapping[int, int]) -> Branch:
    """A branch that has done nothing yet, moved to where its rows say."""
    last = -1
    if row is not None:
        last = row.step_index
        branch.checkpoint = reference(row)
        branch.units = [str(unit) for unit in row.meta.get("units", ())]
        branch.status = "done" if row.next_step is None else "ready"
        branch.step = None if row.next_step is None else Step(last + 1, row.next_step)
    later = [a for a in agents if a.branch == branch.node and a.step_index > last and a.attempt > 0]
    if any(agent.status == "skipped" for agent in later):
        branch.status, branch.step = "skipped", None
    begun = [agent for agent in later if agent.status not in _ENDED]
    if begun and branch.step is not None:
        branch.status, branch.begun = "ready", True
        branch.step = Step(begun[0].step_index, branch.step.name)
        branch.committed = committed.get(branch.step.index, 0)
    return branch


async def _committed(session: AsyncSession, execution: Execution) -> dict[int, int]:
    query = select(col(ConsensusLog.step_index), col(ConsensusLog.log_index)).where(
        col(ConsensusLog.tenant_id) == execution.tenant_id,
        col(ConsensusLog.execution_id) == execution.id,
        col(ConsensusLog.lineage) == execution.lineage,
        col(ConsensusLog.status) == "committed",
    )
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def _last_entry(session: AsyncSession, execution: Execution) -> int:
    query = select(func.max(col(ConsensusLog.log_index))).where(
        col(ConsensusLog.tenant_id) == execution.tenant_id, col(ConsensusLog.execution_id) == execution.id
    )
    return (await session.execute(query)).scalar_one() or 0


async def _recoveries(session: AsyncSession, execution: Execution) -> int:
    query = select(func.count()).where(
        col(RecoveryAction.tenant_id) == execution.tenant_id, col(RecoveryAction.execution_id) == execution.id
    )
    return (await session.execute(query)).scalar_one()
