"""`/executions/{id}/lineage | rollbacks | effects`: what an execution went through."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth.principal import Principal
from api.deps import Lineages, requires
from api.schemas.checkpoints import RollbackList
from api.schemas.common import PageQuery, listing
from api.schemas.history import EffectList, LineageTree
from api.services.lineage import effect_view

router = APIRouter(prefix="/executions", tags=["steering"])


@router.get("/{execution_id}/lineage", response_model=LineageTree)
async def lineage(
    execution_id: UUID, lineages: Lineages, caller: Annotated[Principal, requires("execution:read")]
) -> LineageTree:
    """All lines of its history as a tree: each rollback leaves one behind, readable as it was, and begins the next."""
    return await lineages.tree(caller, execution_id)


@router.get("/{execution_id}/rollbacks", response_model=RollbackList)
async def rollbacks(
    execution_id: UUID,
    lineages: Lineages,
    caller: Annotated[Principal, requires("execution:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    """The rollbacks of an execution, the newest first."""
    found, views = await lineages.rollbacks(caller, execution_id, page.as_page())
    return listing("rollbacks", views, found, page)


@router.get("/{execution_id}/effects", response_model=EffectList)
async def effects(
    execution_id: UUID,
    lineages: Lineages,
    caller: Annotated[Principal, requires("execution:read")],
    page: Annotated[PageQuery, Depends()],
    status: Literal["pending", "done", "failed", "undoing", "undone", "kept"] | None = None,
) -> dict[str, Any]:
    """The calls of its tools that changed the world, the newest first, and what became of them in rollbacks."""
    found = await lineages.effects(caller, execution_id, page.as_page(), status=status)
    return listing("effects", [effect_view(row) for row in found.rows], found, page)
