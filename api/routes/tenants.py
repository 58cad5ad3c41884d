"""`/tenant`: the caller's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from api.auth.principal import Principal
from api.deps import Tenants, requires
from api.schemas.members import TenantUpdate, TenantView

router = APIRouter(prefix="/tenant", tags=["tenant"])


@router.get("", response_model=TenantView)
async def get(tenants: Tenants, caller: Annotated[Principal, requires("tenant:read")]) -> dict[str, Any]:
    return (await tenants.get(caller)).model_dump()


@router.patch("", response_model=TenantView)
async def update(
    body: TenantUpdate, tenants: Tenants, caller: Annotated[Principal, requires("tenant:update")]
) -> dict[str, Any]:
    """What is not named stays as it is; the slug always does."""
    return (await tenants.update(caller, body)).model_dump()
