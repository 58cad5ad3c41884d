"""`/recovery-actions`: what was done about failures, by policies and by people."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth.principal import Principal
from api.deps import Recovery, requires
from api.schemas.common import PageQuery, listing
from api.schemas.recovery import ActionStatus, ActionType, RecoveryActionList, RecoveryActionView
from api.services.recovery import view

router = APIRouter(tags=["failures"])


@router.get("/recovery-actions", response_model=RecoveryActionList)
async def list_all(
    recovery: Recovery,
    caller: Annotated[Principal, requires("failure:read")],
    page: Annotated[PageQuery, Depends()],
    execution_id: UUID | None = None,
    failure_id: UUID | None = None,
    action_type: ActionType | None = None,
    status: ActionStatus | None = None,
    trigger_type: Literal["policy", "manual"] | None = None,
) -> dict[str, Any]:
    found = await recovery.list(
        caller,
        page.as_page(),
        execution_id=execution_id,
        failure_id=failure_id,
        action_type=action_type,
        status=status,
        trigger_type=trigger_type,
    )
    return listing("recovery_actions", [view(row) for row in found.rows], found, page)


@router.get("/recovery-actions/{action_id}", response_model=RecoveryActionView)
async def get(
    action_id: UUID, recovery: Recovery, caller: Annotated[Principal, requires("failure:read")]
) -> RecoveryActionView:
    return view(await recovery.get(caller, action_id))


@router.get("/executions/{execution_id}/recovery-actions", response_model=RecoveryActionList)
async def of_execution(
    execution_id: UUID,
    recovery: Recovery,
    caller: Annotated[Principal, requires("failure:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    """Everything that was done about the failures of one execution, the newest first."""
    found = await recovery.of_execution(caller, execution_id, page.as_page())
    return listing("recovery_actions", [view(row) for row in found.rows], found, page)
