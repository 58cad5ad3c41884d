"""Starts the workflow of an execution whose row is committed. For the API, and for the reconciler if the API died."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from activities.policies.texts import without_texts
from activities.position import Position, flow_nodes
from models.tables import Execution
from models.wire import RunInput, RunLimits
from models.wire_recovery import RunPolicy
from omium_core import temporal
from omium_core.settings import Settings

_POLICY: TypeAdapter[RunPolicy] = TypeAdapter(RunPolicy)


def limits(settings: Settings, max_steps: int | None = None) -> RunLimits:
    return RunLimits(
        step_timeout=settings.step_timeout,
        heartbeat_timeout=settings.heartbeat_timeout,
        max_failures=settings.step_max_failures,
        retry_initial=settings.retry_initial_interval,
        retry_max=settings.retry_max_interval,
        max_steps=max_steps or settings.max_steps,
        max_history=settings.max_history,
    )


def run_input(
    execution: Execution, settings: Settings, position: Position | None = None, hold_for: str = ""
) -> RunInput:
    """The run as it begins, or as it goes on from where its rows stand."""
    stands = position or Position()
    return RunInput(
        tenant_id=str(execution.tenant_id),
        execution_id=str(execution.id),
        version_id=str(execution.version_id),
        framework=execution.framework,
        title=execution.title,
        first_step=execution.first_step,
        limits=limits(settings, execution.max_steps),
        lineage=execution.lineage,
        planned_steps=execution.planned_steps,
        steps_done=stands.steps_done,
        retry=execution.retry_count,
        definition=stands.definition,
        flow=flow_nodes(execution),
        policy=None if execution.policy is None else without_texts(_POLICY.validate_python(execution.policy)),
        branches=stands.branches,
        next_index=stands.next_index,
        log_index=stands.log_index,
        rolled_back=execution.status == "rolled_back",
        recoveries=stands.recoveries,
        hold_for=hold_for,
    )


async def launch(
    client: Client,
    execution: Execution,
    settings: Settings,
    *,
    weight: float = 1.0,
    position: Position | None = None,
    patience: timedelta | None = None,
) -> None:
    """Starts the run, or does nothing if it was started. It goes on from its `position`, by `load_position`.

    Raises `WorkflowAlreadyStartedError` when a new run began and ended already, and when the run before the one that was
    taken up again is still closing.
    """
    again = execution.retry_count > 0
    await client.start_workflow(
        temporal.RUN_WORKFLOW,
        run_input(execution, settings, position),
        # who takes a run up again must not be given the run that is about to close
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL if again else WorkflowIDConflictPolicy.USE_EXISTING,
        # a run that ended is never begun anew by a late reconciler, only by somebody who asks for it
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE,
        rpc_timeout=patience,
        **_options(execution, weight),
    )


def start_for_command(
    execution: Execution, settings: Settings, position: Position, command_id: str, weight: float = 1.0
) -> WithStartWorkflowOperation[Any, Any]:
    """Opens a run of an execution whose run has ended, for an update of this id: nothing happens before it is accepted."""
    return WithStartWorkflowOperation(
        temporal.RUN_WORKFLOW,
        run_input(execution, settings, position, hold_for=command_id),
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        **_options(execution, weight),
    )


def _options(execution: Execution, weight: float) -> dict[str, Any]:
    tenant = str(execution.tenant_id)
    return {
        "id": temporal.workflow_id(tenant, execution.id),
        "task_queue": temporal.queue_for(execution.framework),
        "search_attributes": TypedSearchAttributes(
            [
                SearchAttributePair(temporal.TENANT, tenant),
                SearchAttributePair(temporal.DEFINITION, str(execution.workflow_id)),
                SearchAttributePair(temporal.FRAMEWORK, execution.framework),
                SearchAttributePair(temporal.RUN_STATE, "running"),
            ]
        ),
        "static_summary": temporal.summary(execution.title),
        "static_details": (
            f"Execution `{execution.id}` of workflow `{execution.workflow_id}`, version {execution.workflow_version}"
        ),
        # where several tenants wait for the same workers they take turns, by weight; activities inherit it
        "priority": Priority(fairness_key=tenant[:64], fairness_weight=weight),
    }
