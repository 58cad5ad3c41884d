"""The API's answers, for type checkers and editors; at run time they are plain dicts.

No field is required here: an older or newer server may leave one out or add one. Times are ISO 8601 strings in UTC,
ids are UUID strings, sizes are bytes.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

JsonObject = dict[str, Any]

Status = Literal["pending", "running", "paused", "completed", "failed", "rolled_back", "cancelled"]

#: A run in one of these does not move by itself any more.
TERMINAL_STATUSES: frozenset[str] = frozenset({"completed", "failed", "cancelled", "rolled_back"})


class Page(TypedDict, total=False):
    """What every list has beside its items. `next_cursor` is None on the last page."""

    total: int
    limit: int
    next_cursor: str | None
    page: int
    per_page: int


class Workflow(TypedDict, total=False):
    id: str
    name: str
    description: str | None
    framework: str
    workflow_definition: JsonObject
    input_schema: JsonObject | None
    output_schema: JsonObject | None
    tags: list[str]
    version: int
    is_active: bool
    warnings: list[str]
    created_at: str
    updated_at: str


class WorkflowPage(Page, total=False):
    workflows: list[Workflow]


class Progress(TypedDict, total=False):
    """`total_steps` counts what is known; where only running tells (a graph), it grows with the run."""

    current_step: int
    total_steps: int
    percentage: float


class Agent(TypedDict, total=False):
    """One step of a run, and what it used."""

    id: str
    name: str
    agent_type: str
    status: str
    step_index: int
    attempt: int
    started_at: str | None
    completed_at: str | None
    duration_ms: int | None
    llm_calls: int
    tool_calls: int
    tokens_used: int
    output: Any
    error: str | None
    lineage: int
    branch: str


class TemporalLink(TypedDict, total=False):
    """Where this run is seen in the Temporal Web UI."""

    workflow_id: str
    ui_url: str


class Execution(TypedDict, total=False):
    id: str
    workflow_id: str
    workflow_version: int
    framework: str
    status: Status
    reason: str | None
    inputs: JsonObject
    outputs: Any
    error: str | None
    error_message: str | None
    started_at: str | None
    completed_at: str | None
    duration_ms: int | None
    progress: Progress
    agents: list[Agent]
    current_checkpoint: str | None
    checkpoint_count: int
    retry_count: int
    credits_used: float
    metadata: JsonObject
    temporal: TemporalLink
    created_at: str
    lineage: int
    forked_from: str | None
    forked_from_checkpoint: str | None
    paused_at: str | None
    pending_approvals: int
    #: The stored policies that hold for the run: id and version.
    policies: list[JsonObject]
    #: In the answers of actions: when it was done, and whether it is still on its way.
    resumed_at: str | None
    cancelled_at: str | None
    pause_requested: bool
    resume_requested: bool
    cancel_requested: bool


class ExecutionPage(Page, total=False):
    executions: list[Execution]


class StartedExecution(TypedDict, total=False):
    """Answer of `workflows.execute`."""

    execution_id: str
    status: Status
    started_at: str | None


class ExecutionEnvelope(TypedDict, total=False):
    """Answer of an action on a run, and of `executions.create`.

    One of the `*_requested` is true when the action is on its way and not done yet.
    """

    execution: Execution
    message: str
    pause_requested: bool
    resume_requested: bool
    cancel_requested: bool


class Checkpoint(TypedDict, total=False):
    id: str
    execution_id: str
    checkpoint_number: int
    checkpoint_name: str
    lineage: int
    step_index: int
    next_step: str | None
    state_size_bytes: int
    checksum: str
    metadata: JsonObject
    created_at: str
    kind: Literal["step", "named", "base"]
    branch: str
    agent_id: str | None
    preconditions: list[Any] | None
    postconditions: list[Any] | None
    validation_passed: bool


class CheckpointEnvelope(TypedDict, total=False):
    """Answer of `checkpoints.create`."""

    checkpoint: Checkpoint


class CheckpointPage(Page, total=False):
    checkpoints: list[Checkpoint]


class CheckpointData(TypedDict, total=False):
    checkpoint_id: str
    execution_id: str
    checkpoint_number: int
    state: Any


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


class Failure(TypedDict, total=False):
    id: str
    execution_id: str
    agent_id: str | None
    checkpoint_id: str | None
    lineage: int
    step_index: int | None
    step_name: str | None
    failure_type: str
    severity: Literal["low", "medium", "high", "critical"]
    error_message: str
    root_cause: str | None
    stack_trace: str | None
    recovery_suggestion: str | None
    suggested_fix: str | None
    is_recoverable: bool
    recovery_action: str | None
    recovery_status: Literal["pending", "in_progress", "escalated", "resolved"]
    metadata: JsonObject
    created_at: str
    detected_at: str
    resolved_at: str | None


class FailurePage(Page, total=False):
    failures: list[Failure]
    pagination: JsonObject


class SuggestedAction(TypedDict, total=False):
    """What `failures.recover` takes."""

    action_type: str
    action_config: JsonObject


class Analysis(TypedDict, total=False):
    """`similar` counts failures of the same type in the same step of the workflow, in the last `similar_days` days."""

    failure_type: str
    severity: str
    root_cause: str
    suggested_fix: str
    is_recoverable: bool
    similar: int
    similar_days: int
    suggested_action: SuggestedAction
    evidence: JsonObject


class FailureAnalysis(TypedDict, total=False):
    """Answer of `failures.analyze`."""

    failure: Failure
    analysis: Analysis


class FailureEnvelope(TypedDict, total=False):
    """Answer of `failures.resolve`."""

    failure: Failure
    message: str


class RecoveryAction(TypedDict, total=False):
    """One thing that was done about a failure, by a policy or by a person."""

    id: str
    failure_id: str
    execution_id: str
    action_type: str
    action_config: JsonObject
    trigger_type: Literal["policy", "manual"]
    triggered_by: str | None
    triggered_at: str
    status: Literal["pending", "in_progress", "completed", "failed", "cancelled"]
    success: bool | None
    error: str | None
    started_at: str | None
    completed_at: str | None
    metadata: JsonObject


class RecoveryActionPage(Page, total=False):
    recovery_actions: list[RecoveryAction]


class RecoveryEnvelope(TypedDict, total=False):
    """Answer of `failures.recover`."""

    recovery_action: RecoveryAction
    execution: Execution
    message: str


class Policy(TypedDict, total=False):
    """What `policy_config` holds depends on the type."""

    id: str
    workflow_id: str | None
    name: str
    description: str | None
    policy_type: Literal["timeout", "retry", "recovery", "rollback", "notification"]
    policy_config: JsonObject
    version: int
    is_active: bool
    created_at: str
    updated_at: str


class PolicyPage(Page, total=False):
    policies: list[Policy]


class PolicyVersion(TypedDict, total=False):
    id: str
    policy_id: str
    version: int
    name: str
    policy_config: JsonObject
    is_active: bool
    created_at: str


class PolicyVersionPage(Page, total=False):
    versions: list[PolicyVersion]
