"""`/roles`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from api.auth.permissions import ALL
from api.auth.principal import Principal
from api.deps import Roles, requires
from api.schemas.common import PageQuery, listing
from api.schemas.roles import PermissionList, RoleCreate, RoleList, RoleUpdate, RoleView
from api.services.roles import describe, permissions_of_role
from models.tables import Role

router = APIRouter(prefix="/roles", tags=["roles"])


@router.get("", response_model=RoleList)
async def list_all(
    roles: Roles,
    caller: Annotated[Principal, requires("role:read")],
    page: Annotated[PageQuery, Depends()],
    is_system_role: bool | None = None,
) -> dict[str, Any]:
    found = await roles.list(caller, page.as_page(), is_system_role=is_system_role)
    return listing("roles", [_view(row) for row in found.rows], found, page)


@router.get("/permissions", response_model=PermissionList)
async def permissions(caller: Annotated[Principal, requires("role:read")]) -> PermissionList:
    """Every permission there is, and those that the caller may give to a role."""
    return PermissionList(permissions=sorted(ALL), held=sorted(caller.permissions))


@router.post("", status_code=201, response_model=RoleView)
async def create(
    body: RoleCreate, roles: Roles, caller: Annotated[Principal, requires("role:create")]
) -> dict[str, Any]:
    """Nobody puts more into a role than they hold themselves."""
    return _view(await roles.create(caller, body))


@router.get("/{role_id}", response_model=RoleView)
async def get(role_id: UUID, roles: Roles, caller: Annotated[Principal, requires("role:read")]) -> dict[str, Any]:
    return _view(await roles.get(caller, role_id))


@router.put("/{role_id}", response_model=RoleView)
@router.patch("/{role_id}", response_model=RoleView)
async def update(
    role_id: UUID, body: RoleUpdate, roles: Roles, caller: Annotated[Principal, requires("role:update")]
) -> dict[str, Any]:
    """Holds at once for everybody who has the role. System roles stay as they are."""
    return _view(await roles.update(caller, role_id, body))


@router.delete("/{role_id}", status_code=204)
async def delete(role_id: UUID, roles: Roles, caller: Annotated[Principal, requires("role:delete")]) -> Response:
    """Refused while members hold it."""
    await roles.delete(caller, role_id)
    return Response(status_code=204)


def _view(role: Role) -> dict[str, Any]:
    held = sorted(permissions_of_role(role))
    return {**role.model_dump(), "permissions": held, "description": describe(role)}
