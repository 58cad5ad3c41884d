"""`/audit-logs`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from api.auth.principal import Principal
from api.deps import Audit, requires
from api.schemas.audit import AuditList, AuditQuery, AuditVerdict, AuditView, view
from api.schemas.common import PageQuery, listing
from api.services.audit import Format

router = APIRouter(prefix="/audit-logs", tags=["audit"])

_MEDIA_TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


@router.get("", response_model=AuditList)
async def list_all(
    audit: Audit,
    caller: Annotated[Principal, requires("audit:read")],
    page: Annotated[PageQuery, Depends()],
    query: Annotated[AuditQuery, Depends()],
) -> dict[str, Any]:
    """Who did what to which thing, the newest first; also what was refused."""
    found = await audit.list(caller, page.as_page(), query.wanted)
    return listing("audit_logs", [view(row) for row in found.rows], found, page)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}, "text/csv": {}}}},
)
async def export(
    audit: Audit,
    caller: Annotated[Principal, requires("audit:export")],
    query: Annotated[AuditQuery, Depends()],
    format: Format = "jsonl",
) -> StreamingResponse:
    """All entries that match, the oldest first: JSON lines, or CSV."""
    return StreamingResponse(
        audit.export(caller, query.wanted, format),
        media_type=_MEDIA_TYPES[format],
        headers={"content-disposition": f'attachment; filename="audit-logs.{format}"'},
    )


@router.get("/verify", response_model=AuditVerdict)
async def verify(audit: Audit, caller: Annotated[Principal, requires("audit:read")]) -> dict[str, Any]:
    """Checks every entry of the tenant against the chain, and names the first that is not what was written."""
    return asdict(await audit.verify(caller))


@router.get("/{audit_id}", response_model=AuditView)
async def get(audit_id: UUID, audit: Audit, caller: Annotated[Principal, requires("audit:read")]) -> AuditView:
    return await audit.get(caller, audit_id)
