"""`/executions/{id}/costs`: what a run did cost."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from api.auth.principal import Principal
from api.deps import Costs, requires
from api.schemas.billing import CostsView

router = APIRouter(prefix="/executions", tags=["billing"])


@router.get("/{execution_id}/costs", response_model=CostsView)
async def costs(execution_id: UUID, costs: Costs, caller: Annotated[Principal, requires("usage:read")]) -> CostsView:
    """By agent, step and model, and how much of it came to nothing. An answer that was replayed costs nothing again."""
    return await costs.show(caller, execution_id)
