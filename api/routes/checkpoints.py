"""`/checkpoints`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth.principal import Principal
from api.deps import Checkpoints, requires
from api.schemas.checkpoints import CheckpointData, CheckpointList, CheckpointView
from api.schemas.common import PageQuery, listing

router = APIRouter(prefix="/checkpoints", tags=["checkpoints"])


@router.get("", response_model=CheckpointList)
async def list_all(
    execution_id: UUID,
    checkpoints: Checkpoints,
    caller: Annotated[Principal, requires("checkpoint:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    found = await checkpoints.list(caller, execution_id, page.as_page())
    return listing("checkpoints", [checkpoints.view(row) for row in found.rows], found, page)


@router.get("/{checkpoint_id}", response_model=CheckpointView)
async def get(
    checkpoint_id: UUID, checkpoints: Checkpoints, caller: Annotated[Principal, requires("checkpoint:read")]
) -> CheckpointView:
    return await checkpoints.get(caller, checkpoint_id)


@router.get("/{checkpoint_id}/data", response_model=CheckpointData)
async def data(
    checkpoint_id: UUID,
    checkpoints: Checkpoints,
    caller: Annotated[Principal, requires("checkpoint:read")],
    raw: bool = False,
) -> CheckpointData:
    return await checkpoints.data(caller, checkpoint_id, raw=raw)
