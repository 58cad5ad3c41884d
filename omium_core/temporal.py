"""The names that the API, the workers and the scripts must agree on when they talk to Temporal."""

from __future__ import annotations

from uuid import UUID

from temporalio.common import SearchAttributeKey

#: Name of the one workflow type; started by name so that the API imports no workflow code.
RUN_WORKFLOW = "AgentRun"

TENANT = SearchAttributeKey.for_keyword("Tenant")
DEFINITION = SearchAttributeKey.for_keyword("Definition")
FRAMEWORK = SearchAttributeKey.for_keyword("Framework")
RUN_STATE = SearchAttributeKey.for_keyword("RunState")
SEARCH_ATTRIBUTES = (TENANT, DEFINITION, FRAMEWORK, RUN_STATE)

#: What the Temporal server must be told, locally and on a cluster (temporal-config/dynamicconfig).
DYNAMIC_CONFIG: dict[str, object] = {
    # one queue read per 50 ms is the development server's default; at 200 a step takes a quarter of the time
    "history.transferProcessorMaxPollRPS": 200,
    "history.timerProcessorMaxPollRPS": 200,
    "history.visibilityProcessorMaxPollRPS": 200,
    "history.timerProcessorMaxTimeShift": "50ms",
    "matching.enableFairness": True,
    # fairness orders a partition, so one partition gives a strict order
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    # a step in flight is cancelled in 30 ms, whether it heartbeats or not
    "system.enableCancelActivityWorkerCommand": True,
    "frontend.WorkerCommandsEnabled": True,
}


def workflow_id(tenant_id: UUID | str, execution_id: UUID | str) -> str:
    """The id of a run: the tenant first, so that an id tells whose keys decode it."""
    return f"{tenant_id}/{execution_id}"


def queue_for(framework: str) -> str:
    """The task queue of a framework: its runs and its steps, so that a step can start on the worker that asked for it."""
    return f"omium-{framework}"
