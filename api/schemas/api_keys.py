"""API keys on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.common import Instant, Line, Request, Text

Name = Annotated[Line, Field(min_length=1, max_length=255)]
Scope = Literal["read", "write", "admin"]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=10)]
Permission = Annotated[Text, Field(min_length=1, max_length=100)]
Permissions = Annotated[list[Permission], Field(min_length=1, max_length=200)]
Requests = Annotated[int, Field(ge=1, le=1_000_000_000)]
#: Seconds that a key goes on working beside the one that replaces it: up to thirty days.
Overlap = Annotated[int, Field(ge=0, le=30 * 24 * 3600)]


class ApiKeyCreate(Request):
    """A key holds what its scopes give, or of that what `permissions` names; never more than who makes it."""

    name: Name
    scopes: Scopes = Field(default_factory=lambda: ["read", "write"])  # type: ignore[arg-type]
    permissions: Permissions | None = None
    expires_at: Instant | None = None
    rate_limit_per_minute: Requests | None = None
    rate_limit_per_hour: Requests | None = None


class ApiKeyUpdate(Request):
    """What is not named stays as it is. A key can be given less than it has, and less time, never more."""

    name: Name | None = None
    scopes: Scopes | None = None
    permissions: Permissions | None = None
    expires_at: Instant | None = None
    rate_limit_per_minute: Requests | None = None
    rate_limit_per_hour: Requests | None = None


class ApiKeyRotate(Request):
    """`overlap_seconds`: how long the key so far works beside the new one; 0 ends it at once."""

    overlap_seconds: Overlap = 3600


class ApiKeyView(BaseModel):
    """A key without its secret: `masked_key` is what can be recognised of it."""

    id: UUID
    name: str
    prefix: str
    masked_key: str
    scopes: list[str]
    #: What it may do, as its scopes and its narrowing come to.
    permissions: list[str]
    rate_limit_per_minute: int | None
    rate_limit_per_hour: int | None
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    created_by: UUID | None
    rotated_at: datetime | None
    #: Until when the key before the last rotation works.
    previous_expires_at: datetime | None
    revoked_at: datetime | None
    is_active: bool


class ApiKeyCreated(BaseModel):
    """With the key itself, which is shown this once and stored nowhere."""

    id: UUID
    name: str
    prefix: str
    key: str
    scopes: list[str]
    expires_at: datetime | None


class ApiKeyRotated(ApiKeyCreated):
    """`previous_expires_at`: until when the key before works."""

    previous_expires_at: datetime | None


class ApiKeyList(BaseModel):
    api_keys: list[ApiKeyView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int
