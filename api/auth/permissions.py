"""Every permission there is, and what the scopes of API keys and the system roles hold of them.

A permission is `<resource>:<action>`. Each route declares the one that it needs (`api.deps.requires`); roles and keys hold
sets of them. `payload:read` stands apart: whoever lacks it may work with runs, and sees neither what went in nor what came out.
"""

from __future__ import annotations

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
        "connection:read",
        "schedule:read",
        "webhook:read",
        "tenant:read",
        "usage:read",
    }
)

#: What the operator on call does with runs, without changing what runs.
OPERATE = frozenset(
    {
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
        "notification:retry",
        "connection:test",
        "schedule:trigger",
        "schedule:pause",
        "webhook:retry",
    }
)

BUILD = frozenset(
    {
        "workflow:create",
        "workflow:update",
        "workflow:delete",
        "policy:create",
        "policy:update",
        "policy:delete",
        "connection:create",
        "connection:update",
        "connection:delete",
        "connection:execute",
        "schedule:create",
        "schedule:update",
        "schedule:delete",
        "webhook:create",
        "webhook:update",
        "webhook:delete",
    }
)

PAYLOAD = frozenset({"payload:read"})

BILLING = frozenset({"billing:read", "billing:manage"})

ADMINISTER = frozenset(
    {
        "api_key:read",
        "api_key:create",
        "api_key:update",
        "api_key:revoke",
        "member:read",
        "member:invite",
        "member:update",
        "member:remove",
        "role:read",
        "role:create",
        "role:update",
        "role:delete",
        "audit:read",
        "audit:export",
        "tenant:update",
        "tenant:export",
    }
)

#: What cannot be taken back: for the owner alone.
OWN = frozenset({"tenant:erase", "tenant:transfer"})

ALL = READ | OPERATE | BUILD | PAYLOAD | BILLING | ADMINISTER | OWN

WRITE = READ | OPERATE | BUILD | PAYLOAD
SCOPES: dict[str, frozenset[str]] = {"read": READ | PAYLOAD, "write": WRITE, "admin": WRITE | ADMINISTER | BILLING}

SYSTEM_ROLES: dict[str, tuple[str, frozenset[str]]] = {
    "owner": ("Everything, the erasure of the tenant included.", ALL),
    "admin": ("Everything but giving the tenant away or erasing it.", ALL - OWN),
    "developer": (
        "Builds workflows and runs them.",
        READ | OPERATE | BUILD | PAYLOAD | {"api_key:read", "member:read"},
    ),
    "operator": ("Steers runs, without seeing what is in them.", READ | OPERATE | {"member:read"}),
    "billing": ("Sees usage, pays bills.", frozenset({"usage:read", "tenant:read"}) | BILLING),
    "viewer": ("Looks at runs, without seeing what is in them.", READ),
}


def permissions_of(scopes: frozenset[str]) -> frozenset[str]:
    """What an API key with these scopes may do."""
    return frozenset().union(*(SCOPES.get(scope, frozenset()) for scope in scopes))
