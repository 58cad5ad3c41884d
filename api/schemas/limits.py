"""Limits on the wire: what a tenant may use, and what it has used."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class RequestLimit(BaseModel):
    """Requests in a window that slides. `scope`: `tenant` for all of its requests, `caller` for those of this key or person
    to executions, checkpoints and failures. `resets_in` is in seconds."""

    scope: Literal["tenant", "caller"]
    window_seconds: int
    limit: int
    remaining: int
    resets_in: float


class Quota(BaseModel):
    """What may be used in a month (in UTC)."""

    limit: int
    used: int
    resets_at: datetime


class Quotas(BaseModel):
    api_calls: Quota
    checkpoints: Quota


class ExecutionPlaces(BaseModel):
    """`running` of at most `max_concurrent`; the others wait for their turn."""

    max_concurrent: int
    running: int
    queued: int


class LimitsView(BaseModel):
    """A window without a limit is not listed; none is where requests are not limited."""

    tier: str
    requests: list[RequestLimit]
    quotas: Quotas
    executions: ExecutionPlaces
    max_input_bytes: int
    max_body_bytes: int
