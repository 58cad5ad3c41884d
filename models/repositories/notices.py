"""What people are to hear of their money: notices that the ledger and payments wrote, told once, and mailed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Repository
from models.tables import BillingNotice, CreditAccount, Role, Tenant, User, UserRole
from models.tables.base import now

_OWNER = "owner"


class NoticeRepository(Repository):
    async def take(self, limit: int) -> Sequence[BillingNotice]:
        """The oldest that nobody was told of. Who sets their `sent_at` in this transaction has told them once."""
        query = (
            select(BillingNotice)
            .where(col(BillingNotice.tenant_id) == self.tenant_id, col(BillingNotice.sent_at).is_(None))
            .order_by(col(BillingNotice.id))
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return (await self.session.execute(query)).scalars().all()

    async def claim_mail(self, lease: float) -> BillingNotice | None:
        """The next that is to be mailed. Nobody else takes it for `lease` seconds; then it is tried again."""
        query = (
            select(BillingNotice)
            .where(col(BillingNotice.tenant_id) == self.tenant_id, col(BillingNotice.mail_at) <= now())
            .order_by(col(BillingNotice.id))
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row: BillingNotice | None = (await self.session.execute(query)).scalar_one_or_none()
        if row is not None:
            row.mail_attempts += 1
            row.mail_at = now() + timedelta(seconds=lease)
            self.session.add(row)
        return row

    async def mailed(self, notice_id: UUID) -> None:
        """It was handed over, or given up."""
        own = (col(BillingNotice.tenant_id) == self.tenant_id, col(BillingNotice.id) == notice_id)
        await self.session.execute(update(BillingNotice).where(*own).values(mail_at=None))

    async def receivers(self) -> list[str]:
        """Addresses of those who hear of the tenant's money: its billing address, else its owners."""
        billing = select(col(Tenant.billing_email)).where(col(Tenant.id) == self.tenant_id)
        address: str | None = (await self.session.execute(billing)).scalar_one_or_none()
        if address:
            return [address]
        owners = (
            select(col(User.email))
            .join(UserRole, col(UserRole.user_id) == col(User.id))
            .join(Role, col(Role.id) == col(UserRole.role_id))
            .where(
                col(User.tenant_id) == self.tenant_id,
                col(User.removed_at).is_(None),
                col(User.is_active),
                col(Role.name) == _OWNER,
                col(Role.is_system_role),
            )
            .order_by(col(User.email))
        )
        return list((await self.session.execute(owners.distinct())).scalars())

    async def warn_by_default(self, below: int) -> None:
        """A balance for which nobody said otherwise is told of when it falls below this, in millionths of a credit."""
        unsaid = (col(CreditAccount.tenant_id) == self.tenant_id, col(CreditAccount.warn_below).is_(None))
        await self.session.execute(update(CreditAccount).where(*unsaid).values(warn_below=below))


async def tenants_to_tell(session: AsyncSession) -> list[UUID]:
    """Tenants with notices that nobody was told of: in a transaction of the platform itself, as the next ones."""
    query = select(col(BillingNotice.tenant_id)).where(col(BillingNotice.sent_at).is_(None)).distinct()
    return list((await session.execute(query)).scalars())


async def tenants_to_mail(session: AsyncSession) -> list[UUID]:
    """Tenants with notices that are to be mailed now."""
    query = select(col(BillingNotice.tenant_id)).where(col(BillingNotice.mail_at) <= now()).distinct()
    return list((await session.execute(query)).scalars())


async def tenants_without_alert(session: AsyncSession) -> list[UUID]:
    """Tenants with an account for which nobody said when its balance is told of."""
    query = select(col(CreditAccount.tenant_id)).where(col(CreditAccount.warn_below).is_(None))
    return list((await session.execute(query)).scalars())
