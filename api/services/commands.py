"""Sends commands to runs: as an update, which is answered; as a signal of the same id when no worker answers in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.wiring import Wiring
from models.tables import Execution
from models.wire_commands import CommandResult
from omium_core import errors, temporal
from omium_core.errors import Conflict, OmiumError, Unavailable

log = structlog.get_logger(__name__)

#: How long a request waits for the run to carry a command out before it answers that it is on its way.
PATIENCE = 5.0
#: The update was accepted, and the run ended before it could say what came of it.
_ENDED_MEANWHILE = "AcceptedUpdateCompletedWorkflow"


class NoRun(Exception):
    """Temporal has no open run of this execution."""


async def send(process: Wiring, execution: Execution, name: str, command: Any) -> CommandResult | None:
    """What a command did, or None while it is on its way: no worker answered yet, or the work takes longer.

    Raises `NoRun`, `Unavailable` when Temporal is away, and what the run refuses the command with.
    """
    handle = process.temporal.get_workflow_handle(temporal.workflow_id(execution.tenant_id, execution.id))
    try:
        async with asyncio.timeout(PATIENCE):
            result: CommandResult = await handle.execute_update(
                name, command, id=command.id, result_type=CommandResult, rpc_timeout=timedelta(seconds=PATIENCE)
            )
            return result
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        await _signal(handle, name, command)
        return None
    except WorkflowUpdateFailedError as error:
        return _refused(error, execution)
    except (RPCError, RuntimeError) as error:
        raise _no_answer(error) from error


async def send_with_start(
    process: Wiring, execution: Execution, name: str, command: Any, start: WithStartWorkflowOperation[Any, Any]
) -> CommandResult | None:
    """The same for an execution whose run has ended: `start` opens a run that waits for this command."""
    try:
        async with asyncio.timeout(PATIENCE):
            result: CommandResult = await process.temporal.execute_update_with_start_workflow(
                name,
                command,
                start_workflow_operation=start,
                id=command.id,
                result_type=CommandResult,
                rpc_timeout=timedelta(seconds=PATIENCE),
            )
            return result
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        # the run was opened, or nothing was: then there is nobody to signal
        handle = process.temporal.get_workflow_handle(temporal.workflow_id(execution.tenant_id, execution.id))
        await _signal(handle, name, command)
        return None
    except WorkflowUpdateFailedError as error:
        return _refused(error, execution)
    except (RPCError, RuntimeError) as error:
        raise _no_answer(error) from error


async def _signal(handle: WorkflowHandle[Any, Any], name: str, command: Any) -> None:
    try:
        await handle.signal(name, command, rpc_timeout=timedelta(seconds=PATIENCE))
    except (RPCError, RuntimeError) as error:
        raise _no_answer(error) from error


def _refused(error: WorkflowUpdateFailedError, execution: Execution) -> CommandResult:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        raise Conflict("The execution did not take the command.", execution_id=str(execution.id)) from error
    if cause.type == _ENDED_MEANWHILE:
        raise NoRun from error
    raise refusal(cause.type or "", cause.message, execution_id=str(execution.id)) from error


def _no_answer(error: Exception) -> Exception:
    if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
        return NoRun()
    log.warning("Temporal did not take a command", error=str(error))
    return Unavailable("Temporal does not answer; try again in a moment.")


def refusal(code: str, message: str, **details: Any) -> OmiumError:
    """The error of a code that a run refused a command with; a code that is not known is a conflict."""
    kind = _BY_CODE.get(code, Conflict)
    return kind(message, **details)


_BY_CODE: dict[str, type[OmiumError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, OmiumError) and kind.status < 500
}
