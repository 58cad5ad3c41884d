"""`/checkpoints`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from api.auth.principal import Principal
from api.deps import Checkpoints, requires
from api.schemas.checkpoints import (
    CheckpointCreate,
    CheckpointCreated,
    CheckpointData,
    CheckpointList,
    CheckpointView,
    Kind,
)
from api.schemas.common import PageQuery, listing

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
