"""Sessions: the look-up behind every access token, and the family of refresh tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.repositories.roles import HeldRole, held_roles, select_held_roles
from models.tables import Session
from models.tables.base import now
from omium_core.errors import SessionNotFound

_STANDING = text(f"""
SELECT s.id, s.tenant_id, s.user_id, s.account_id, s.expires_at, u.email, t.subscription_tier AS tier,
    a.email_verified_at IS NOT NULL AS email_verified,
    {select_held_roles("u.id", "s.tenant_id")} AS roles
FROM sessions s
JOIN users u ON u.id = s.user_id AND u.account_id = s.account_id AND u.is_active AND u.removed_at IS NULL
JOIN accounts a ON a.id = s.account_id
JOIN tenants t ON t.id = s.tenant_id AND t.deleted_at IS NULL
WHERE s.id = :id AND s.ended_at IS NULL AND s.expires_at > :now
""")  # noqa: S608


@dataclass(frozen=True)
class Standing:
    """A person who is signed in to a tenant, as things stand now."""

    session_id: UUID
    tenant_id: UUID
    user_id: UUID
    account_id: UUID
    email: str
    email_verified: bool
    tier: str
    roles: tuple[HeldRole, ...]
    expires_at: datetime


class Sessions:
    """Sessions of all tenants. The caller's transaction is `Database.system()`."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def standing(self, session_id: UUID) -> Standing | None:
        """None when the session is over, the person was removed, or the tenant is closed."""
        row: Any = (await self.session.execute(_STANDING, {"id": session_id, "now": now()})).one_or_none()
        if row is None:
            return None
        return Standing(
            session_id=row.id,
            tenant_id=row.tenant_id,
            user_id=row.user_id,
            account_id=row.account_id,
            email=row.email,
            email_verified=row.email_verified,
            tier=row.tier,
            roles=held_roles(row.roles),
            expires_at=row.expires_at,
        )

    async def add(self, session: Session) -> None:
        self.session.add(session)
        await self.session.flush()

    async def locked(self, session_id: UUID) -> Session | None:
        """A session, which nobody else changes until the transaction ends."""
        query = select(Session).where(col(Session.id) == session_id).with_for_update()
        return (await self.session.execute(query)).scalar_one_or_none()

    async def end(self, session_id: UUID, reason: str) -> None:
        await self.session.execute(_ending(reason).where(col(Session.id) == session_id))

    async def end_all(self, account_id: UUID, reason: str, *, but: UUID | None = None) -> None:
        """Ends the sessions of an account in all tenants."""
        ending = _ending(reason).where(col(Session.account_id) == account_id)
        await self.session.execute(ending if but is None else ending.where(col(Session.id) != but))

    async def sweep(self, before: datetime) -> None:
        """Forgets sessions that were over before a time."""
        await self.session.execute(delete(Session).where(col(Session.expires_at) < before))


class SessionRepository(Repository):
    """Sessions of one tenant, for its administrators and for each person."""

    async def list(self, page: Page, *, user_id: UUID) -> Listing[Session]:
        """Those of a user that are not over."""
        query = select(Session).where(
            col(Session.tenant_id) == self.tenant_id,
            col(Session.user_id) == user_id,
            col(Session.ended_at).is_(None),
            col(Session.expires_at) > now(),
        )
        return await self._page(query, Session, page)

    async def get(self, session_id: UUID, *, user_id: UUID) -> Session:
        """A session of a user, or `SessionNotFound`."""
        query = select(Session).where(
            col(Session.tenant_id) == self.tenant_id,
            col(Session.id) == session_id,
            col(Session.user_id) == user_id,
            col(Session.ended_at).is_(None),
        )
        found = (await self.session.execute(query)).scalar_one_or_none()
        if found is None:
            raise SessionNotFound(f"Session {session_id} does not exist.", session_id=str(session_id))
        return found

    async def end_of(self, user_id: UUID, reason: str) -> None:
        """Ends all sessions of a user."""
        ending = _ending(reason).where(col(Session.tenant_id) == self.tenant_id, col(Session.user_id) == user_id)
        await self.session.execute(ending)


def _ending(reason: str) -> Any:
    return update(Session).where(col(Session.ended_at).is_(None)).values(ended_at=now(), end_reason=reason)
