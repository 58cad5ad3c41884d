"""Handoff consensus on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AliasChoices, BaseModel, Field

from api.payloads import HoldsPayloads, Payload
from api.schemas.common import Request, Text


class AckView(HoldsPayloads):
    """One vote. `valid` is whether the voter agreed."""

    id: UUID
    voter: str
    kind: str
    agent_id: UUID | None
    term: int
    valid: bool
    reason: Payload[str]
    ack_received_at: datetime


class ConsensusLogView(HoldsPayloads):
    """One entry of an execution's log of handoffs: who hands over what to whom, and how the vote stands."""

    id: UUID
    execution_id: UUID
    lineage: int
    step_index: int
    term: int
    log_index: int
    leader: str
    sender: str
    receivers: list[str]
    sender_agent_id: UUID | None
    receiver_agent_id: UUID | None
    message_type: str
    message: Payload[dict[str, Any]]
    payload_hash: str
    voters: list[dict[str, Any]]
    status: str
    consensus_reached: bool
    acks_received: int
    acks_required: int
    acks: list[AckView]
    deadline: datetime | None
    created_at: datetime
    committed_at: datetime | None


class ConsensusStatus(BaseModel):
    """The log in its own order; `current_term` and the leader are those of its newest entry."""

    execution_id: UUID
    current_term: int
    leader: str | None
    leader_agent_id: UUID | None
    logs: list[ConsensusLogView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class AcknowledgeRequest(Request):
    """A vote. `agent_id` is the voter's name or the id of its step; without a term or a hash the present ones are meant."""

    agent_id: Annotated[Text, Field(min_length=1, max_length=255)] = Field(
        validation_alias=AliasChoices("agent_id", "voter", "agent")
    )
    valid: bool = Field(default=True, validation_alias=AliasChoices("valid", "accept"))
    reason: Annotated[Text, Field(max_length=500)] = ""
    term: int = Field(default=0, ge=0, le=2**31 - 1)
    payload_hash: Annotated[Text, Field(max_length=64)] = ""


class Acknowledged(BaseModel):
    """`success` says that the vote counts; 202 with `acknowledgement_requested` while no worker has answered yet."""

    success: bool
    total_acks: int
    acks_required: int
    consensus_reached: bool
    acknowledgement_requested: bool
    message: str
    log: ConsensusLogView
