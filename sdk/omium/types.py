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


class ExecutionPage(Page, total=False):
    executions: list[Execution]


class StartedExecution(TypedDict, total=False):
    """Answer of `workflows.execute`."""

    execution_id: str
    status: Status
    started_at: str | None


class ExecutionEnvelope(TypedDict, total=False):
    """Answer of an action on a run, and of `executions.create`."""

    execution: Execution
    message: str


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


class CheckpointPage(Page, total=False):
    checkpoints: list[Checkpoint]


class CheckpointData(TypedDict, total=False):
    checkpoint_id: str
    execution_id: str
    checkpoint_number: int
    state: Any


class Failure(TypedDict, total=False):
    id: str
    execution_id: str
    step_name: str | None
    failure_type: str
    severity: str
    error_message: str
    root_cause: str | None
    stack_trace: str | None
    recovery_suggestion: str | None
    is_recoverable: bool
    recovery_status: str
    metadata: JsonObject
    created_at: str
    resolved_at: str | None


class FailurePage(Page, total=False):
    failures: list[Failure]
    pagination: JsonObject
