"""`/api-keys`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from api.auth.principal import Principal
from api.deps import ApiKeys, requires
from api.schemas.api_keys import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyList,
    ApiKeyRotate,
    ApiKeyRotated,
    ApiKeyUpdate,
    ApiKeyView,
)
from api.schemas.common import PageQuery, listing

router = APIRouter(prefix="/api-keys", tags=["api-keys"])


@router.post("", status_code=201, response_model=ApiKeyCreated)
async def create(
    body: ApiKeyCreate,
    keys: ApiKeys,
    caller: Annotated[Principal, requires("api_key:create")],
    response: Response,
) -> ApiKeyCreated:
    """The answer holds the key itself, this once: it is stored nowhere."""
    _not_to_be_stored(response)
    return await keys.create(caller, body)


@router.get("", response_model=ApiKeyList)
async def list_all(
    keys: ApiKeys,
    caller: Annotated[Principal, requires("api_key:read")],
    page: Annotated[PageQuery, Depends()],
    include_revoked: bool = False,
) -> dict[str, Any]:
    found, views = await keys.list(caller, page.as_page(), include_revoked=include_revoked)
    return listing("api_keys", views, found, page)


@router.get("/{key_id}", response_model=ApiKeyView)
async def get(key_id: UUID, keys: ApiKeys, caller: Annotated[Principal, requires("api_key:read")]) -> ApiKeyView:
    return await keys.get(caller, key_id)


@router.patch("/{key_id}", response_model=ApiKeyView)
async def update(
    key_id: UUID,
    body: ApiKeyUpdate,
    keys: ApiKeys,
    caller: Annotated[Principal, requires("api_key:update")],
) -> ApiKeyView:
    """Another name, or less than the key has: fewer scopes and permissions, an earlier end, fewer requests."""
    return await keys.update(caller, key_id, body)


@router.post("/{key_id}/rotate", response_model=ApiKeyRotated)
async def rotate(
    key_id: UUID,
    keys: ApiKeys,
    caller: Annotated[Principal, requires("api_key:update")],
    response: Response,
    body: ApiKeyRotate | None = None,
) -> ApiKeyRotated:
    """A new key under the same id and with the same rights. The answer holds it, this once."""
    _not_to_be_stored(response)
    wanted = body or ApiKeyRotate()
    return await keys.rotate(caller, key_id, wanted.overlap_seconds)


@router.delete("/{key_id}", status_code=204)
async def revoke(key_id: UUID, keys: ApiKeys, caller: Annotated[Principal, requires("api_key:revoke")]) -> Response:
    """The key, and one that overlaps it after a rotation, stop working within a second."""
    await keys.revoke(caller, key_id)
    return Response(status_code=204)


def _not_to_be_stored(response: Response) -> None:
    response.headers["cache-control"] = "no-store"
