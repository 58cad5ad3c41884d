"""Rollbacks, lineages, questions to people and votes on handoffs."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from omium.types.base import JsonObject, Page
from omium.types.runs import Agent, Checkpoint, Execution


class Rollback(TypedDict, total=False):
    """`from_lineage` was left, `to_lineage` began at the checkpoint."""

    id: str
    execution_id: str
    from_checkpoint_id: str | None
    to_checkpoint_id: str
    from_lineage: int
    to_lineage: int
    status: Literal["in_progress", "completed", "failed"]
    error: str | None
    trigger_reason: str
    trigger_type: str
    edits: JsonObject | None
    metadata: JsonObject
    started_at: str
    completed_at: str | None


class RollbackEnvelope(TypedDict, total=False):
    """Answer of `checkpoints.rollback`; `rollback` is None where `rollback_requested` says that it has not begun."""

    rollback: Rollback | None
    execution: Execution
    rollback_requested: bool
    message: str


class RollbackPlan(TypedDict, total=False):
    """Answer of `checkpoints.plan_rollback`: what a rollback would do. Nothing was changed."""

    plan: JsonObject
    dry_run: bool


class Lineage(TypedDict, total=False):
    """One line of a run's history: where it branched off, and what happened in it."""

    lineage: int
    parent_lineage: int | None
    parent_number: int
    checkpoint_id: str | None
    checkpoint_name: str | None
    rollback_id: str | None
    reason: str
    current: bool
    created_at: str
    steps: list[Agent]
    checkpoints: list[Checkpoint]
    forks: list[JsonObject]
    children: list[int]


class LineageTree(TypedDict, total=False):
    execution_id: str
    current_lineage: int
    forked_from: str | None
    forked_from_checkpoint: str | None
    tree: JsonObject
    lineages: list[Lineage]


class Approval(TypedDict, total=False):
    """A question of a run to a person. At the `deadline` the `default_decision` is taken."""

    id: str
    execution_id: str
    step_index: int
    step_name: str
    interrupt_id: str
    title: str
    question: Any
    assignee: str | None
    status: Literal["pending", "approved", "rejected", "edited", "expired", "cancelled"]
    deadline: str | None
    default_decision: str | None
    answer: Any
    comment: str | None
    answered_by: str | None
    created_at: str
    answered_at: str | None


class ApprovalPage(Page, total=False):
    approvals: list[Approval]


class ApprovalEnvelope(TypedDict, total=False):
    """Answer of approve, reject and edit."""

    approval: Approval
    execution: Execution
    answer_requested: bool
    message: str


class ConsensusAck(TypedDict, total=False):
    voter: str
    kind: str
    term: int
    valid: bool
    reason: str | None
    ack_received_at: str


class ConsensusLog(TypedDict, total=False):
    """A handoff: who hands over to whom, and how the vote stands."""

    id: str
    term: int
    log_index: int
    leader: str
    sender: str
    receivers: list[str]
    status: str
    voters: list[JsonObject]
    payload_hash: str
    consensus_reached: bool
    acks_received: int
    acks_required: int
    acks: list[ConsensusAck]
    deadline: str | None
    created_at: str


class Consensus(Page, total=False):
    execution_id: str
    current_term: int
    leader: str | None
    leader_agent_id: str | None
    logs: list[ConsensusLog]


class Acknowledgement(TypedDict, total=False):
    """Answer of a vote: whether it counts, and how the handoff stands."""

    success: bool
    total_acks: int
    acks_required: int
    consensus_reached: bool
    acknowledgement_requested: bool
    message: str
    log: ConsensusLog
