"""`/executions/{id}/pause | resume | cancel | retry | fork`"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Response

from api.auth.principal import Principal
from api.deps import Forks, Retries, Steering, requires
from api.schemas.executions import ExecutionAction, IdempotencyHeader
from api.schemas.steering import (
    CancelAnswer,
    CancelRequest,
    ForkRequest,
    PauseAnswer,
    PauseRequest,
    ResumeAnswer,
    ResumeRequest,
)

router = APIRouter(prefix="/executions", tags=["steering"])

Key = Annotated[IdempotencyHeader | None, Header()]
ON_ITS_WAY = 202


@router.post(
    "/{execution_id}/pause",
    response_model=PauseAnswer,
    responses={202: {"model": PauseAnswer, "description": "It pauses when the step in flight has ended"}},
)
async def pause(
    execution_id: UUID,
    steering: Steering,
    caller: Annotated[Principal, requires("execution:pause")],
    response: Response,
    body: PauseRequest | None = None,
    idempotency_key: Key = None,
) -> PauseAnswer:
    """Lets the step in flight end and stands still then; with `mode` `hard` the step is cancelled."""
    answer = await steering.pause(caller, execution_id, body or PauseRequest(), idempotency_key)
    if answer.pause_requested:
        response.status_code = ON_ITS_WAY
    return answer


@router.post(
    "/{execution_id}/resume",
    response_model=ResumeAnswer,
    responses={202: {"model": ResumeAnswer, "description": "It resumes when a worker answers"}},
)
async def resume(
    execution_id: UUID,
    steering: Steering,
    caller: Annotated[Principal, requires("execution:resume")],
    response: Response,
    body: ResumeRequest | None = None,
    idempotency_key: Key = None,
) -> ResumeAnswer:
    """Goes on after a pause or a rollback, from the last checkpoint."""
    answer = await steering.resume(caller, execution_id, idempotency_key)
    if answer.resume_requested:
        response.status_code = ON_ITS_WAY
    return answer


@router.post(
    "/{execution_id}/cancel",
    response_model=CancelAnswer,
    responses={202: {"model": CancelAnswer, "description": "It ends when a worker answers"}},
)
async def cancel(
    execution_id: UUID,
    steering: Steering,
    caller: Annotated[Principal, requires("execution:cancel")],
    response: Response,
    body: CancelRequest | None = None,
    idempotency_key: Key = None,
) -> CancelAnswer:
    """Ends the run now, with the step in flight. It can be retried, rolled back or forked afterwards."""
    answer = await steering.cancel(caller, execution_id, body or CancelRequest(), idempotency_key)
    if answer.cancel_requested:
        response.status_code = ON_ITS_WAY
    return answer


@router.post("/{execution_id}/retry", response_model=ExecutionAction)
async def retry(
    execution_id: UUID,
    retries: Retries,
    caller: Annotated[Principal, requires("execution:retry")],
    idempotency_key: Key = None,
) -> ExecutionAction:
    """Takes up a run that failed or was cancelled, from its last checkpoint; or one that waits after a failure."""
    execution = await retries.retry(caller, execution_id, idempotency_key)
    return ExecutionAction(execution=execution, message="Execution continues from its last checkpoint")


@router.post("/{execution_id}/fork", status_code=201, response_model=ExecutionAction)
async def fork(
    execution_id: UUID,
    body: ForkRequest,
    forks: Forks,
    caller: Annotated[Principal, requires("execution:fork")],
    idempotency_key: Key = None,
) -> ExecutionAction:
    """Starts a new execution from any checkpoint of this one, with edits if wanted. This one stays as it is."""
    execution = await forks.fork(caller, execution_id, body, idempotency_key)
    return ExecutionAction(execution=execution, message="Execution forked successfully")
