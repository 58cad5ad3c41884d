"""`/tenant/exports`, `/tenant/erasure`, `/tenant/retention`, and the same for one person under `/users`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from api.auth.principal import Principal
from api.deps import DataRights, requires
from api.schemas.common import PageQuery, listing
from api.schemas.data_rights import (
    ErasureRequest,
    ErasureView,
    ExportList,
    ExportRequest,
    ExportView,
    PersonErased,
    RetentionUpdate,
    RetentionView,
    erasure_view,
    export_view,
)

router = APIRouter(tags=["data rights"])


@router.post("/tenant/exports", status_code=202, response_model=ExportView)
async def export(
    rights: DataRights, caller: Annotated[Principal, requires("tenant:export")], body: ExportRequest | None = None
) -> ExportView:
    """Begins an export of everything of the tenant, or of what it has of one person."""
    return export_view(await rights.export(caller, body.user_id if body else None))


@router.post("/users/{user_id}/exports", status_code=202, response_model=ExportView)
async def export_person(
    user_id: UUID, rights: DataRights, caller: Annotated[Principal, requires("tenant:export")]
) -> ExportView:
    """Begins an export of what the tenant has of one person."""
    return export_view(await rights.export(caller, user_id))


@router.get("/tenant/exports", response_model=ExportList)
async def exports(
    rights: DataRights,
    caller: Annotated[Principal, requires("tenant:export")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    found = await rights.exports(caller, page.as_page())
    return listing("exports", [export_view(row) for row in found.rows], found, page)


@router.get("/tenant/exports/{export_id}", response_model=ExportView)
async def get_export(
    export_id: UUID, rights: DataRights, caller: Annotated[Principal, requires("tenant:export")]
) -> ExportView:
    """How far it is."""
    return export_view(await rights.get_export(caller, export_id))


@router.get(
    "/tenant/exports/{export_id}/download",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def download(
    export_id: UUID, rights: DataRights, caller: Annotated[Principal, requires("tenant:export")]
) -> StreamingResponse:
    """The zip: JSON lines for each table, and what the states of runs hold."""
    return StreamingResponse(
        await rights.download(caller, export_id),
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="omium-export-{export_id}.zip"'},
    )


@router.post("/tenant/erasure", status_code=202, response_model=ErasureView)
async def erase(
    body: ErasureRequest, rights: DataRights, caller: Annotated[Principal, requires("tenant:erase")]
) -> ErasureView:
    """Destroys the tenant's keys, then everything else. Cannot be taken back but in the time of grace."""
    return erasure_view(await rights.erase(caller, body))


@router.get("/tenant/erasure", response_model=ErasureView)
async def erasure(rights: DataRights, caller: Annotated[Principal, requires("tenant:erase")]) -> ErasureView:
    return erasure_view(await rights.erasure(caller))


@router.delete("/tenant/erasure", response_model=ErasureView)
async def cancel_erasure(rights: DataRights, caller: Annotated[Principal, requires("tenant:erase")]) -> ErasureView:
    """Takes it back, in the time of grace."""
    return erasure_view(await rights.cancel_erasure(caller))


@router.post("/users/{user_id}/erasure", response_model=PersonErased)
async def erase_person(
    user_id: UUID, rights: DataRights, caller: Annotated[Principal, requires("member:remove")]
) -> PersonErased:
    """Removes a person and replaces what tells who it was. What the person did stays, under an id that leads nowhere."""
    done = await rights.erase_person(caller, user_id)
    return PersonErased(**done.model_dump(), user_id=done.subject_user_id)


@router.get("/tenant/retention", response_model=RetentionView)
async def retention(rights: DataRights, caller: Annotated[Principal, requires("tenant:read")]) -> Any:
    """For how long things are kept."""
    return await rights.retention(caller)


@router.patch("/tenant/retention", response_model=RetentionView)
async def change_retention(
    body: RetentionUpdate, rights: DataRights, caller: Annotated[Principal, requires("tenant:update")]
) -> Any:
    """What is older goes with the next daily round."""
    return await rights.change_retention(caller, body)
