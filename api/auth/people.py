"""Access tokens -> principals. What a person may do is what holds now, not what held when the token was made."""

from __future__ import annotations

import asyncio
from uuid import UUID

from cachetools import TTLCache

from api.auth.permissions import ALL, SYSTEM_ROLES
from api.auth.principal import Principal
from api.auth.tokens import AccessTokens
from models.database import Database
from models.repositories.roles import HeldRole
from models.repositories.sessions import Sessions, Standing
from omium_core.errors import NotAuthenticated

#: A session that was ended, a role that changed, a member who was removed: every API process knows within this many seconds.
MEMORY_SECONDS = 1.0


class PersonAuthenticator:
    def __init__(self, database: Database, tokens: AccessTokens) -> None:
        self._database = database
        self._tokens = tokens
        self._known: TTLCache[UUID, Principal | None] = TTLCache(maxsize=10_000, ttl=MEMORY_SECONDS)
        self._looking: dict[UUID, asyncio.Task[Principal | None]] = {}

    async def authenticate(self, token: str) -> Principal:
        """Raises `NotAuthenticated`, `TokenExpired`."""
        claims = await self._tokens.verify(token)
        principal = await self._find(claims.session_id)
        if principal is None or (principal.user_id, principal.tenant_id) != (claims.user_id, claims.tenant_id):
            raise NotAuthenticated("The session is over. Sign in again.")
        return principal

    def forget(self, session_id: UUID) -> None:
        """After a change of a session in this process."""
        self._known.pop(session_id, None)
        # a look-up that is under way may have read what was there before
        self._looking.pop(session_id, None)

    async def _find(self, session_id: UUID) -> Principal | None:
        """One look-up at a time for each session, however many requests wait for it."""
        if session_id in self._known:
            return self._known[session_id]
        task = self._looking.get(session_id)
        if task is None:
            task = asyncio.create_task(self._read(session_id))
            self._looking[session_id] = task
        return await asyncio.shield(task)

    async def _read(self, session_id: UUID) -> Principal | None:
        try:
            async with self._database.system() as session:
                standing = await Sessions(session).standing(session_id)
            principal = None if standing is None else principal_of(standing)
            if self._looking.get(session_id) is asyncio.current_task():
                self._known[session_id] = principal
            return principal
        finally:
            if self._looking.get(session_id) is asyncio.current_task():
                del self._looking[session_id]


def principal_of(standing: Standing) -> Principal:
    return Principal(
        tenant_id=standing.tenant_id,
        key_id=None,
        user_id=standing.user_id,
        permissions=permissions_of(standing.roles),
        session_id=standing.session_id,
        tier=standing.tier,
    )


def permissions_of(roles: tuple[HeldRole, ...]) -> frozenset[str]:
    """What all these roles hold together."""
    return frozenset().union(*(held_by(role.name, role.is_system_role, role.permissions) for role in roles))


def held_by(name: str, is_system_role: bool, permissions: frozenset[str]) -> frozenset[str]:
    """What one role holds. A permission that there is no more is nobody's."""
    return SYSTEM_ROLES[name][1] if is_system_role and name in SYSTEM_ROLES else permissions & ALL
