"""`/executions/{id}/consensus` and `/consensus/{log_id}/acknowledge`: handoffs that are voted on."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response

from api.auth.principal import Principal
from api.deps import Consensus, requires
from api.schemas.common import PageQuery, listing
from api.schemas.consensus import Acknowledged, AcknowledgeRequest, ConsensusStatus
from api.schemas.executions import IdempotencyHeader

router = APIRouter(tags=["consensus"])


@router.get("/executions/{execution_id}/consensus", response_model=ConsensusStatus)
async def status(
    execution_id: UUID,
    consensus: Consensus,
    caller: Annotated[Principal, requires("consensus:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    """The log of handoffs with its votes, in its own order, and who leads now."""
    standing = await consensus.get(caller, execution_id, page.as_page())
    return {
        "execution_id": execution_id,
        "current_term": standing.term,
        "leader": standing.leader,
        "leader_agent_id": standing.leader_agent_id,
        **listing("logs", standing.entries, standing.found, page),
    }


@router.post(
    "/consensus/{log_id}/acknowledge",
    response_model=Acknowledged,
    responses={202: {"model": Acknowledged, "description": "The vote is on its way to the run"}},
)
async def acknowledge(
    log_id: UUID,
    body: AcknowledgeRequest,
    consensus: Consensus,
    caller: Annotated[Principal, requires("consensus:acknowledge")],
    response: Response,
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> Acknowledged:
    """Votes on a handoff in a voter's name. Only the first vote of a term counts."""
    answer = await consensus.acknowledge(caller, log_id, body, idempotency_key)
    if answer.acknowledgement_requested:
        response.status_code = 202
    return answer
