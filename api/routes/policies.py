"""`/policies`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from activities.policies import policy_schemas
from api.auth.principal import Principal
from api.deps import Policies, requires
from api.schemas.common import PageQuery, listing
from api.schemas.policies import (
    PolicyCreate,
    PolicyList,
    PolicyType,
    PolicyUpdate,
    PolicyVersionList,
    PolicyView,
)

router = APIRouter(prefix="/policies", tags=["policies"])


@router.post("", status_code=201, response_model=PolicyView)
async def create(
    body: PolicyCreate, policies: Policies, caller: Annotated[Principal, requires("policy:create")]
) -> dict[str, Any]:
    """Holds for runs that begin from now on."""
    return (await policies.create(caller, body)).model_dump()


@router.get("", response_model=PolicyList)
async def list_all(
    policies: Policies,
    caller: Annotated[Principal, requires("policy:read")],
    page: Annotated[PageQuery, Depends()],
    workflow_id: UUID | None = None,
    policy_type: PolicyType | None = None,
    is_active: bool | None = None,
) -> dict[str, Any]:
    found = await policies.list(
        caller, page.as_page(), workflow_id=workflow_id, policy_type=policy_type, is_active=is_active
    )
    return listing("policies", [row.model_dump() for row in found.rows], found, page)


@router.get("/schemas", response_model=dict[str, Any])
async def schemas(caller: Annotated[Principal, requires("policy:read")]) -> dict[str, Any]:
    """The JSON Schemas of `policy_config` by type, of `policies` in a definition, of an agent's, and of one action."""
    return policy_schemas()


@router.get("/{policy_id}", response_model=PolicyView)
async def get(
    policy_id: UUID, policies: Policies, caller: Annotated[Principal, requires("policy:read")]
) -> dict[str, Any]:
    return (await policies.get(caller, policy_id)).model_dump()


@router.put("/{policy_id}", response_model=PolicyView)
@router.patch("/{policy_id}", response_model=PolicyView)
async def update(
    policy_id: UUID,
    body: PolicyUpdate,
    policies: Policies,
    caller: Annotated[Principal, requires("policy:update")],
) -> dict[str, Any]:
    """Makes a new version. Runs that have begun keep theirs."""
    return (await policies.update(caller, policy_id, body)).model_dump()


@router.delete("/{policy_id}", status_code=204)
async def delete(
    policy_id: UUID, policies: Policies, caller: Annotated[Principal, requires("policy:delete")]
) -> Response:
    await policies.delete(caller, policy_id)
    return Response(status_code=204)


@router.get("/{policy_id}/versions", response_model=PolicyVersionList)
async def versions(
    policy_id: UUID,
    policies: Policies,
    caller: Annotated[Principal, requires("policy:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    """What it said in each of its versions, the newest first."""
    found = await policies.versions(caller, policy_id, page.as_page())
    return listing("versions", [row.model_dump() for row in found.rows], found, page)
