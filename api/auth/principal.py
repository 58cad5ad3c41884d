"""Who is asking: a tenant, what the credential may do, and from where."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class Origin:
    """Where a request came from, for the audit log."""

    address: str | None = None
    user_agent: str | None = None
    request_id: str = ""


@dataclass(frozen=True)
class Principal:
    """An authenticated caller: an API key (`key_id`), or a person who signed in (`session_id`)."""

    tenant_id: UUID
    key_id: UUID | None
    user_id: UUID | None
    permissions: frozenset[str]
    session_id: UUID | None = None
    tier: str = "starter"
    #: Requests to the routes of executions in a minute and an hour, where the key has numbers of its own.
    rate_limits: tuple[int | None, int | None] = (None, None)
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def name(self) -> str:
        """How records call the caller: the person if there is one, else the key."""
        return f"user:{self.user_id}" if self.user_id else f"key:{self.key_id}"

    def may(self, permission: str) -> bool:
        return permission in self.permissions
