"""`/failures`"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth.principal import Principal
from api.deps import Failures, requires
from api.schemas.common import PageQuery
from api.schemas.failures import FailureList, FailureView
from api.services.failures import view

router = APIRouter(prefix="/failures", tags=["failures"])


@router.get("", response_model=FailureList)
async def list_all(
    failures: Failures,
    caller: Annotated[Principal, requires("failure:read")],
    page: Annotated[PageQuery, Depends()],
    execution_id: UUID | None = None,
    severity: Literal["low", "medium", "high", "critical"] | None = None,
    status: Literal["unresolved", "pending", "resolved"] | None = None,
) -> dict[str, Any]:
    found = await failures.list(caller, page.as_page(), execution_id=execution_id, severity=severity, status=status)
    return {
        "failures": [view(row) for row in found.rows],
        "total": found.total,
        "limit": page.limit,
        "next_cursor": found.next_cursor,
        "pagination": {"total": found.total, "limit": page.limit, "offset": page.offset},
    }


@router.get("/{failure_id}", response_model=FailureView)
async def get(
    failure_id: UUID, failures: Failures, caller: Annotated[Principal, requires("failure:read")]
) -> FailureView:
    return await failures.get(caller, failure_id)
