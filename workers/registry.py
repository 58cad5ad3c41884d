"""Which workflows and activities each task queue has. The one place that knows all three."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker

from omium_core import temporal
from omium_core.settings import Settings
from workflows.agent_run import AgentRun


def build_worker(
    client: Client,
    framework: str,
    settings: Settings,
    activities: Sequence[Callable[..., Any]],
    interceptors: Sequence[Interceptor] = (),
) -> Worker:
    """A worker of one framework's queue: its runs, and all activities of runs and steps.

    Runs and steps share the queue so that Temporal hands a step to the worker that asks for it, without a round trip.
    """
    return Worker(
        client,
        task_queue=temporal.queue_for(framework),
        workflows=[AgentRun],
        activities=activities,
        interceptors=interceptors,
        # the sandbox costs as much as all the rest of a step; docs/decisions/0006 says what guards determinism instead
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=settings.max_concurrent_steps,
        # the next message to a run waits this long for a worker that died
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_heartbeat_throttle_interval=timedelta(seconds=settings.heartbeat_timeout / 3),
        default_heartbeat_throttle_interval=timedelta(seconds=settings.heartbeat_timeout / 3),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )
