"""`/frameworks`: what can be registered, and the JSON Schema of its definitions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from activities.adapters.registry import definition_for
from activities.contracts.published import published
from api.auth.principal import Principal
from api.deps import requires
from omium_core.errors import NotFound
from omium_core.settings import FRAMEWORKS

router = APIRouter(prefix="/frameworks", tags=["frameworks"])


@router.get("")
async def list_all(caller: Annotated[Principal, requires("framework:read")]) -> dict[str, Any]:
    names = [{"name": name, "schema": f"/api/v1/frameworks/{name}/schema"} for name in FRAMEWORKS]
    return {"frameworks": names, "total": len(names), "limit": len(names), "next_cursor": None}


@router.get("/{name}/schema")
async def schema(name: str, caller: Annotated[Principal, requires("framework:read")]) -> dict[str, Any]:
    if name not in FRAMEWORKS:
        raise NotFound(f"There is no framework {name!r}. Known are: {', '.join(FRAMEWORKS)}.")
    return published(definition_for(name).json_schema())
