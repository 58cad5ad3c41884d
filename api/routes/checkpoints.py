"""`/checkpoints`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from api.auth.principal import Principal
from api.deps import Checkpoints, Rollbacks, requires
from api.schemas.checkpoints import (
    CheckpointCreate,
    CheckpointCreated,
    CheckpointData,
    CheckpointList,
    CheckpointView,
    DryRun,
    Kind,
    RollbackAnswer,
    RollbackRequest,
)
from api.schemas.common import PageQuery, listing
from api.schemas.executions import IdempotencyHeader

router = APIRouter(prefix="/checkpoints", tags=["checkpoints"])


@router.get("", response_model=CheckpointList)
async def list_all(
    execution_id: UUID,
    checkpoints: Checkpoints,
    caller: Annotated[Principal, requires("checkpoint:read")],
    page: Annotated[PageQuery, Depends()],
    kind: Annotated[Kind | None, Query(description="Without it: all but `base`, which repeat other states")] = None,
    lineage: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
) -> dict[str, Any]:
    """The checkpoints of an execution, the newest first, of all its lineages or of one."""
    found = await checkpoints.list(caller, execution_id, page.as_page(), kind=kind, lineage=lineage)
    return listing("checkpoints", [checkpoints.view(row) for row in found.rows], found, page)


@router.post("", status_code=201, response_model=CheckpointCreated)
async def create(
    body: CheckpointCreate, checkpoints: Checkpoints, caller: Annotated[Principal, requires("checkpoint:create")]
) -> CheckpointCreated:
    """Gives the state that a run stands on a name, also while it runs: a place to roll back to, or to fork from."""
    return CheckpointCreated(checkpoint=await checkpoints.create(caller, body))


@router.get("/{checkpoint_id}", response_model=CheckpointView)
async def get(
    checkpoint_id: UUID, checkpoints: Checkpoints, caller: Annotated[Principal, requires("checkpoint:read")]
) -> CheckpointView:
    return await checkpoints.get(caller, checkpoint_id)


@router.delete("/{checkpoint_id}", status_code=204)
async def delete(
    checkpoint_id: UUID, checkpoints: Checkpoints, caller: Annotated[Principal, requires("checkpoint:delete")]
) -> Response:
    """Nothing leads back to it any more; what came after it still stands."""
    await checkpoints.delete(caller, checkpoint_id)
    return Response(status_code=204)


@router.get("/{checkpoint_id}/data", response_model=CheckpointData)
async def data(
    checkpoint_id: UUID,
    checkpoints: Checkpoints,
    caller: Annotated[Principal, requires("checkpoint:read")],
    raw: bool = False,
) -> CheckpointData:
    return await checkpoints.data(caller, checkpoint_id, raw=raw)


@router.post(
    "/{checkpoint_id}/rollback",
    response_model=RollbackAnswer | DryRun,
    responses={202: {"model": RollbackAnswer, "description": "It is under way"}},
)
async def rollback(
    checkpoint_id: UUID,
    rollbacks: Rollbacks,
    caller: Annotated[Principal, requires("checkpoint:rollback")],
    response: Response,
    body: RollbackRequest | None = None,
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> RollbackAnswer | DryRun:
    """Takes the run back to a checkpoint: undoes the effects after it, newest first, and waits, or goes on with `resume`.

    Works on running, paused and ended runs. With `dry_run` it answers what would be done, and does nothing. What cannot be
    undone blocks it (409 `ROLLBACK_BLOCKED`, with the plan) unless `confirm` agrees that it stays.
    """
    wanted = body or RollbackRequest()
    if wanted.dry_run:
        return await rollbacks.plan(caller, checkpoint_id, wanted.edits)
    answer = await rollbacks.roll_back(caller, checkpoint_id, wanted, idempotency_key)
    if answer.rollback_requested:
        response.status_code = 202
    return answer
