"""API keys, and what a tenant may use."""

from __future__ import annotations

from typing import Literal, TypedDict

from omium.types.base import Page


class ApiKey(TypedDict, total=False):
    """A key without its secret. `permissions` is what its scopes and its narrowing come to."""

    id: str
    name: str
    prefix: str
    masked_key: str
    scopes: list[str]
    permissions: list[str]
    rate_limit_per_minute: int | None
    rate_limit_per_hour: int | None
    expires_at: str | None
    last_used_at: str | None
    created_at: str
    created_by: str | None
    rotated_at: str | None
    previous_expires_at: str | None
    revoked_at: str | None
    is_active: bool


class CreatedApiKey(TypedDict, total=False):
    """With the key itself, which is shown this once."""

    id: str
    name: str
    prefix: str
    key: str
    scopes: list[str]
    expires_at: str | None


class RotatedApiKey(CreatedApiKey, total=False):
    """`previous_expires_at`: until when the key before works."""

    previous_expires_at: str | None


class ApiKeyPage(Page, total=False):
    api_keys: list[ApiKey]


class RequestLimit(TypedDict, total=False):
    scope: Literal["tenant", "caller"]
    window_seconds: int
    limit: int
    remaining: int
    resets_in: float


class Quota(TypedDict, total=False):
    limit: int
    used: int
    resets_at: str


class Quotas(TypedDict, total=False):
    api_calls: Quota
    checkpoints: Quota


class ExecutionPlaces(TypedDict, total=False):
    max_concurrent: int
    running: int
    queued: int


class Limits(TypedDict, total=False):
    """Answer of `api_keys.limits`."""

    tier: str
    requests: list[RequestLimit]
    quotas: Quotas
    executions: ExecutionPlaces
    max_input_bytes: int
    max_body_bytes: int
