"""`/limits`"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from api.auth.principal import Principal
from api.deps import Limits, requires
from api.schemas.limits import LimitsView

router = APIRouter(prefix="/limits", tags=["limits"])


@router.get("", response_model=LimitsView)
async def show(limits: Limits, caller: Annotated[Principal, requires("usage:read")]) -> LimitsView:
    """What the caller's tenant may use, and what it has used. Works when all is used up, and counts for no quota."""
    return await limits.show(caller)
