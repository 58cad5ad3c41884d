"""Who is asking: a tenant, and what the credential may do."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

#: What a scope of an API key permits. `admin` permits everything.
READ = frozenset(
    {
        "workflow:read",
        "execution:read",
        "checkpoint:read",
        "failure:read",
        "framework:read",
        "approval:read",
        "consensus:read",
        "policy:read",
        "notification:read",
    }
)
WRITE = READ | {
    "workflow:create",
    "workflow:update",
    "workflow:delete",
    "execution:create",
    "execution:retry",
    "execution:pause",
    "execution:resume",
    "execution:cancel",
    "execution:fork",
    "checkpoint:create",
    "checkpoint:rollback",
    "checkpoint:delete",
    "approval:answer",
    "consensus:acknowledge",
    "failure:analyze",
    "failure:recover",
    "policy:create",
    "policy:update",
    "policy:delete",
    "notification:retry",
}
SCOPES: dict[str, frozenset[str]] = {"read": READ, "write": WRITE, "admin": WRITE}


@dataclass(frozen=True)
class Principal:
    """An authenticated caller."""

    tenant_id: UUID
    key_id: UUID
    user_id: UUID | None
    permissions: frozenset[str]

    @property
    def name(self) -> str:
        """How records call the caller: the person if the key has one, else the key."""
        return f"user:{self.user_id}" if self.user_id else f"key:{self.key_id}"


def permissions_of(scopes: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*(SCOPES.get(scope, frozenset()) for scope in scopes))
