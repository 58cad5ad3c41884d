"""The people of a tenant, and those who are invited to become some."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.tables import ApiKey, Invitation, Tenant, User
from models.tables.base import now
from omium_core.errors import InvitationNotFound, MemberNotFound


class MemberRepository(Repository):
    async def lock_tenant(self) -> Tenant:
        """The tenant's row, locked: who holds which role changes one transaction at a time."""
        query = select(Tenant).where(col(Tenant.id) == self.tenant_id).with_for_update()
        tenant: Tenant = (await self.session.execute(query)).scalar_one()
        return tenant

    async def tenant(self) -> Tenant:
        query = select(Tenant).where(col(Tenant.id) == self.tenant_id)
        tenant: Tenant = (await self.session.execute(query)).scalar_one()
        return tenant

    async def get(self, user_id: UUID) -> User:
        """A member by the id of the user or of the account, or `MemberNotFound`."""
        query = select(User).where(
            col(User.tenant_id) == self.tenant_id,
            or_(col(User.id) == user_id, col(User.account_id) == user_id),
            col(User.removed_at).is_(None),
        )
        user = (await self.session.execute(query)).scalar_one_or_none()
        if user is None:
            raise MemberNotFound(f"Member {user_id} does not exist.", user_id=str(user_id))
        return user

    async def by_email(self, email: str) -> User | None:
        """Whoever has, or had, this address here."""
        query = select(User).where(col(User.tenant_id) == self.tenant_id, col(User.email) == email)
        return (await self.session.execute(query)).scalar_one_or_none()

    async def by_account(self, account_id: UUID) -> User | None:
        query = select(User).where(col(User.tenant_id) == self.tenant_id, col(User.account_id) == account_id)
        return (await self.session.execute(query)).scalar_one_or_none()

    async def list(self, page: Page, *, email: str | None = None) -> Listing[User]:
        query = select(User).where(col(User.tenant_id) == self.tenant_id, col(User.removed_at).is_(None))
        if email is not None:
            query = query.where(col(User.email) == func.lower(email))
        return await self._page(query, User, page)

    def add(self, user: User) -> None:
        self.session.add(user)

    async def revoke_keys(self, user_id: UUID) -> int:
        """Revokes the API keys that a user made. How many there were."""
        revoking = (
            update(ApiKey)
            .where(
                col(ApiKey.tenant_id) == self.tenant_id,
                col(ApiKey.user_id) == user_id,
                col(ApiKey.revoked_at).is_(None),
            )
            .values(revoked_at=now(), is_active=False)
        )
        result: Any = await self.session.execute(revoking)
        return int(result.rowcount)


class InvitationRepository(Repository):
    def add(self, invitation: Invitation) -> None:
        self.session.add(invitation)

    async def get(self, invitation_id: UUID) -> Invitation:
        """An invitation that may still be accepted, or `InvitationNotFound`."""
        query = self._open().where(col(Invitation.id) == invitation_id)
        found = (await self.session.execute(query.with_for_update())).scalar_one_or_none()
        if found is None:
            raise InvitationNotFound(f"Invitation {invitation_id} does not exist.", invitation_id=str(invitation_id))
        return found

    async def list(self, page: Page) -> Listing[Invitation]:
        """Those that may still be accepted."""
        return await self._page(self._open(), Invitation, page)

    async def revoke_others(self, email: str) -> None:
        """An address has one invitation: those before it end."""
        await self.session.execute(
            update(Invitation)
            .where(
                col(Invitation.tenant_id) == self.tenant_id,
                col(Invitation.email) == email,
                col(Invitation.accepted_at).is_(None),
                col(Invitation.revoked_at).is_(None),
            )
            .values(revoked_at=now())
        )

    def _open(self) -> Any:
        return select(Invitation).where(
            col(Invitation.tenant_id) == self.tenant_id,
            col(Invitation.accepted_at).is_(None),
            col(Invitation.revoked_at).is_(None),
            col(Invitation.expires_at) > now(),
        )


async def find_invitation(session: AsyncSession, token_hash: str, *, lock: bool = False) -> Invitation | None:
    """The invitation that a token opens, of any tenant that is open. For the platform's own transactions."""
    query = (
        select(Invitation)
        .join(Tenant, col(Tenant.id) == col(Invitation.tenant_id))
        .where(
            col(Invitation.token_hash) == token_hash,
            col(Invitation.accepted_at).is_(None),
            col(Invitation.revoked_at).is_(None),
            col(Invitation.expires_at) > now(),
            col(Tenant.deleted_at).is_(None),
        )
    )
    if lock:
        query = query.with_for_update(of=Invitation)
    return (await session.execute(query)).scalar_one_or_none()
