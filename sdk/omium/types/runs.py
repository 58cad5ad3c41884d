"""Workflows, runs and their checkpoints."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from omium.types.base import JsonObject, Page, Status


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
    queue_position: int | None
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
