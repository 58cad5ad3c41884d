"""Exports and erasures that were asked for, and what makes a person unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.tables import ApiKey, DataRequest, Invitation, Session, Tenant, User, UserRole
from models.tables.base import now
from omium_core.errors import DataRequestNotFound, MemberNotFound

#: Statuses in which something is still being done.
OPEN = ("pending", "running")

_DELETE_ACCOUNTS = text("""
DELETE FROM accounts a USING users u
WHERE u.account_id = a.id AND u.tenant_id = :tenant AND (CAST(:person AS uuid) IS NULL OR u.id = :person)
AND NOT EXISTS (SELECT FROM users other WHERE other.account_id = a.id AND other.id <> u.id)
""")


class DataRequestRepository(Repository):
    async def get(self, request_id: UUID, kind: str, *, lock: bool = False) -> DataRequest:
        """Raises `DataRequestNotFound`."""
        query = self._query(kind).where(col(DataRequest.id) == request_id)
        row = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        if row is None:
            raise DataRequestNotFound(f"There is no {kind} {request_id}.", id=str(request_id))
        request: DataRequest = row
        return request

    async def newest(self, kind: str) -> DataRequest | None:
        """The last request about the whole tenant."""
        query = self._query(kind).where(col(DataRequest.subject_user_id).is_(None))
        return (await self.session.execute(query.order_by(col(DataRequest.id).desc()).limit(1))).scalar_one_or_none()

    async def open(self, kind: str, user_id: UUID | None) -> DataRequest | None:
        """One about the same that is not done yet."""
        query = self._query(kind).where(
            col(DataRequest.status).in_(OPEN), col(DataRequest.subject_user_id).is_not_distinct_from(user_id)
        )
        return (await self.session.execute(query.limit(1))).scalar_one_or_none()

    async def list(self, page: Page, kind: str) -> Listing[DataRequest]:
        return await self._page(self._query(kind), DataRequest, page)

    async def add(self, request: DataRequest) -> None:
        self.session.add(request)
        await self.session.flush()

    def _query(self, kind: str) -> Any:
        return select(DataRequest).where(col(DataRequest.tenant_id) == self.tenant_id, col(DataRequest.kind) == kind)


class PersonRepository(Repository):
    """One of the tenant's people, also one who was removed."""

    async def get(self, user_id: UUID) -> User:
        query = select(User).where(col(User.tenant_id) == self.tenant_id, col(User.id) == user_id)
        user = (await self.session.execute(query)).scalar_one_or_none()
        if user is None:
            raise MemberNotFound(f"Member {user_id} does not exist.", user_id=str(user_id))
        found: User = user
        return found

    async def forget(self, user_id: UUID) -> None:
        """Replaces what tells who the person is. The row and its id stay, since the log and the runs name it."""
        user = await self.get(user_id)
        invited = update(Invitation).where(
            col(Invitation.tenant_id) == self.tenant_id, col(Invitation.email) == user.email
        )
        user.email = f"erased-{user.id.hex}@erased.invalid"
        await self.session.execute(invited.values(email=user.email))
        user.first_name = user.last_name = user.full_name = user.avatar_url = None
        user.timezone, user.preferences, user.last_login_at = "UTC", {}, None
        user.is_active, user.account_id = False, None
        user.removed_at = user.removed_at or now()
        user.updated_at = now()
        self.session.add(user)
        await self.session.flush()
        for table in (Session, UserRole):
            await self.session.execute(
                delete(table).where(col(table.tenant_id) == self.tenant_id, col(table.user_id) == user_id)
            )
        await self.session.execute(
            update(ApiKey)
            .where(col(ApiKey.tenant_id) == self.tenant_id, col(ApiKey.user_id) == user_id)
            .values(is_active=False, revoked_at=now())
        )


class TenantSettings(Repository):
    """`tenants.settings`."""

    async def get(self, *, lock: bool = False) -> Tenant:
        query = select(Tenant).where(col(Tenant.id) == self.tenant_id)
        tenant: Tenant = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one()
        return tenant

    async def change(self, values: Mapping[str, Any]) -> None:
        """Sets these, and leaves all others as they are."""
        tenant = await self.get(lock=True)
        tenant.settings = {**tenant.settings, **values}
        tenant.updated_at = now()
        self.session.add(tenant)
        await self.session.flush()


async def delete_accounts(db: AsyncSession, tenant_id: UUID, user_id: UUID | None = None) -> None:
    """Deletes the accounts of a tenant's people, or of one of them, who belong to no other tenant. System role."""
    await db.execute(_DELETE_ACCOUNTS, {"tenant": tenant_id, "person": user_id})
