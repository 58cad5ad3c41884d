"""Starts the workflow of an execution whose row is committed. For the API, and for the reconciler if the API died."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from models.tables import Checkpoint, Execution
from models.wire import CheckpointRef, RunInput, RunLimits, Step
from omium_core import temporal
from omium_core.settings import Settings


def limits(settings: Settings, max_steps: int | None = None) -> RunLimits:
    return RunLimits(
        step_timeout=settings.step_timeout,
        heartbeat_timeout=settings.heartbeat_timeout,
        max_failures=settings.step_max_failures,
        retry_initial=settings.retry_initial_interval,
        retry_max=settings.retry_max_interval,
        max_steps=max_steps or settings.max_steps,
    )


def run_input(execution: Execution, settings: Settings, checkpoint: Checkpoint | None) -> RunInput:
    """The run as it begins, or as it goes on after `checkpoint`."""
    run = RunInput(
        tenant_id=str(execution.tenant_id),
        execution_id=str(execution.id),
        version_id=str(execution.version_id),
        framework=execution.framework,
        title=execution.title,
        first_step=execution.first_step,
        limits=limits(settings, execution.max_steps),
        lineage=execution.lineage,
        planned_steps=execution.planned_steps,
        retry=execution.retry_count,
    )
    if checkpoint is not None and checkpoint.next_step is not None:
        run.checkpoint = CheckpointRef(
            id=str(checkpoint.id),
            number=checkpoint.checkpoint_number,
            blob=checkpoint.checksum,
            size=checkpoint.state_size_bytes,
        )
        run.steps_done = checkpoint.step_index + 1
        run.next_step = Step(run.steps_done, checkpoint.next_step)
    return run


async def launch(
    client: Client,
    execution: Execution,
    settings: Settings,
    *,
    checkpoint: Checkpoint | None = None,
    patience: timedelta | None = None,
) -> None:
    """Starts the run, or does nothing if it was started. A run that was taken up again goes on after `checkpoint`.

    Raises `WorkflowAlreadyStartedError` when a new run began and ended already, and when the run before the one that was
    taken up again is still closing.
    """
    tenant = str(execution.tenant_id)
    again = execution.retry_count > 0
    await client.start_workflow(
        temporal.RUN_WORKFLOW,
        run_input(execution, settings, checkpoint),
        id=temporal.workflow_id(tenant, execution.id),
        task_queue=temporal.queue_for(execution.framework),
        # who takes a run up again must not be given the run that is about to close
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL if again else WorkflowIDConflictPolicy.USE_EXISTING,
        # a run that ended is never begun anew by a late reconciler, only by somebody who asks for it
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=TypedSearchAttributes(
            [
                SearchAttributePair(temporal.TENANT, tenant),
                SearchAttributePair(temporal.DEFINITION, str(execution.workflow_id)),
                SearchAttributePair(temporal.FRAMEWORK, execution.framework),
                SearchAttributePair(temporal.RUN_STATE, "running"),
            ]
        ),
        static_summary=temporal.summary(execution.title),
        static_details=f"Execution `{execution.id}` of workflow `{execution.workflow_id}`, version {execution.workflow_version}",
        priority=Priority(fairness_key=tenant[:64]),
        rpc_timeout=patience,
    )
