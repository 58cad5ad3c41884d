"""Gives a committed execution to Temporal, patiently; what does not work now is left to the reconciler."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import WithStartWorkflowOperation
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from tenacity import AsyncRetrying, retry_if_exception_type, retry_never, stop_after_delay, wait_fixed

from activities.launch import launch, start_for_command
from activities.position import load_position
from api.wiring import Wiring
from models.tables import Execution

log = structlog.get_logger(__name__)

#: How long a request waits for Temporal before it leaves the start to the reconciler.
LAUNCH_PATIENCE = timedelta(seconds=5)
#: How long, in seconds, it waits for the run before the one that is taken up again to close.
CLOSING_PATIENCE = 2.0


async def launch_now(process: Wiring, execution: Execution) -> None:
    """Starts the run of a row that is committed as `pending`, or does nothing if Temporal does not take it."""
    async with process.database.transaction(execution.tenant_id) as session:
        position = await load_position(session, execution)
    try:
        async for attempt in AsyncRetrying(
            # the run that failed has told so and is closing
            retry=retry_if_exception_type(WorkflowAlreadyStartedError) if execution.retry_count else retry_never,
            wait=wait_fixed(0.02),
            stop=stop_after_delay(CLOSING_PATIENCE),
            reraise=True,
        ):
            with attempt:
                await launch(process.temporal, execution, process.settings, position=position, patience=LAUNCH_PATIENCE)
    except (RPCError, RuntimeError, WorkflowAlreadyStartedError) as error:
        # the row is committed: the reconciler starts it as soon as Temporal answers
        log.warning("Temporal did not take the run yet", execution_id=str(execution.id), error=str(error))


async def start_for(process: Wiring, execution: Execution, command_id: str) -> WithStartWorkflowOperation[Any, Any]:
    """Opens a run of an execution whose run has ended, for one command."""
    async with process.database.transaction(execution.tenant_id) as session:
        position = await load_position(session, execution)
    return start_for_command(execution, process.settings, position, command_id)
