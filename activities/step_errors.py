"""What raised in a step -> the failure that it is, and the words for it that may be kept where.

Only our own words go into Temporal's history; what an agent, a tool or an endpoint said stays in the database.
"""

from __future__ import annotations

import traceback

import structlog

from activities.adapters.base import BadDefinition, ModelRejected, StepError, StorageUnavailable, ToolFailed
from activities.gateway.session import StepSession
from activities.stores.base import ObjectStoreUnavailable
from models.database import is_database_away
from omium_core.errors import CheckpointCorrupted, InvalidInput

log = structlog.get_logger(__name__)

#: The longest text of an error that is kept with a step.
ERROR_LENGTH = 4000


class AgentFailed(StepError):
    """The agent's own code raised; the cause holds what."""


class ToolInvocationFailed(StepError):
    failure_type = "tool_invocation"


def classify(error: Exception) -> StepError:
    """The failure's type, for what our own side raised; what agents raise is sorted by `agents_error`."""
    if isinstance(error, StepError):
        return error
    if isinstance(error, CheckpointCorrupted):
        return BadDefinition(f"The checkpoint cannot be read: {error.message}")
    if isinstance(error, InvalidInput):
        return BadDefinition(f"What was edited does not fit: {error.message}")
    if is_database_away(error) or isinstance(error, ObjectStoreUnavailable):
        return StorageUnavailable("The database or the object store cannot be reached.")
    log.error("step failed in the platform itself", exc_info=error)
    return StepError(f"{type(error).__name__} in the platform; the worker's log has the details.")


def agents_error(error: Exception, session: StepSession) -> StepError:
    """The failure's type, for what the framework, the agent or a tool raised."""
    if session.rejection is not None and (isinstance(error, ModelRejected) or _is_from_endpoint(error)):
        # the gateway's words name the endpoint
        return session.rejection
    if isinstance(error, StepError):
        return error
    if isinstance(error, ToolFailed):
        return ToolInvocationFailed(f"A tool failed: {error}")
    return AgentFailed(f"{type(error).__name__} in the agent's code.")


def _is_from_endpoint(error: BaseException | None) -> bool:
    """Whether a refusal by the endpoint is what the framework wrapped; an agent may also have coped with one before."""
    while error is not None:
        if isinstance(getattr(error, "status_code", None), int):
            return True
        error = error.__cause__ or error.__context__
    return False


def for_history(error: StepError) -> str:
    """The part of a message that is ours: what an endpoint, a tool or a library said follows a colon."""
    return str(error).partition(": ")[0][:500]


def full_text(error: StepError) -> str:
    """What a person is told: our words, or what the agent's code raised, with its trace; a tool's trace stands below our words."""
    cause = error.__cause__
    if isinstance(error, AgentFailed) and cause is not None:
        return _trace(cause)[-ERROR_LENGTH:]
    words = storable(str(error))[:ERROR_LENGTH]
    if isinstance(error, ToolInvocationFailed) and cause is not None and cause.__cause__ is not None:
        # a `ToolFailed` by itself tells all; this one was made of what the tool's own code raised
        return f"{words}\n{_trace(cause.__cause__)[-ERROR_LENGTH:]}"
    return words


def _trace(error: BaseException) -> str:
    return storable("".join(traceback.format_exception(error)))


def storable(text: str) -> str:
    """Without what PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "").encode(errors="replace").decode()
