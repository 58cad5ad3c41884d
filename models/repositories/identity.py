"""Accounts and the tokens mailed to them. They belong to no tenant: for the platform's own transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.roles import add_system_roles, grant_system_role
from models.repositories.signup import grant_signup_credits
from models.tables import Account, AccountToken, OAuthState, Role, Session, Tenant, User, UserRole
from models.tables.base import now
from omium_core.keyring import KeyWrapper

#: A person is no stranger in a network from which the account signed in within this time.
_KNOWN_FOR = timedelta(days=30)
_TOTP_CONTEXT = b"omium-totp"


@dataclass(frozen=True)
class Membership:
    """A tenant that an account belongs to, as which user, and with which roles."""

    user: User
    tenant: Tenant
    roles: tuple[str, ...]


class Accounts:
    """All accounts. The caller's transaction is `Database.system()`."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def get(self, account_id: UUID, *, lock: bool = False) -> Account | None:
        query = select(Account).where(col(Account.id) == account_id)
        return (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()

    async def by_email(self, email: str, *, lock: bool = False) -> Account | None:
        """`email` is normalised."""
        query = select(Account).where(col(Account.email) == email)
        return (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()

    async def by_provider(self, provider: str, subject: str) -> Account | None:
        query = select(Account).where(col(Account.auth_provider) == provider, col(Account.oauth_provider_id) == subject)
        return (await self.session.execute(query.with_for_update())).scalar_one_or_none()

    async def add(self, account: Account) -> bool:
        """Writes a new account; False where the address, or the person at the provider, has one already."""
        statement = insert(Account).values(account.model_dump()).on_conflict_do_nothing().returning(col(Account.id))
        return (await self.session.execute(statement)).scalar_one_or_none() is not None

    async def touch(self, account_id: UUID, user_id: UUID) -> None:
        """The person signed in now, as this user."""
        moment = now()
        await self.session.execute(update(Account).where(col(Account.id) == account_id).values(last_login_at=moment))
        await self.session.execute(update(User).where(col(User.id) == user_id).values(last_login_at=moment))

    async def add_tenant(self, name: str, slugs: Sequence[str], credits: Decimal | int = 0) -> Tenant:
        """A new tenant with its system roles and credits, under the first of these slugs that is free."""
        for slug in slugs:
            tenant = Tenant(name=name, slug=slug)
            statement = insert(Tenant).values(tenant.model_dump()).on_conflict_do_nothing()
            if (await self.session.execute(statement.returning(col(Tenant.id)))).scalar_one_or_none():
                await add_system_roles(self.session, tenant.id)
                await grant_signup_credits(self.session, tenant.id, credits)
                return tenant
        raise LookupError("none of the slugs is free")

    async def add_user(self, user: User, role: str) -> None:
        """A new user who holds a system role of the tenant."""
        self.session.add(user)
        await self.session.flush()
        await grant_system_role(self.session, user.tenant_id, user.id, role)

    async def joined(self, user: User) -> User:
        """A user of a tenant: the one whom the account, or the address, was there before, or this new one."""
        query = (
            select(User)
            .where(
                col(User.tenant_id) == user.tenant_id,
                (col(User.account_id) == user.account_id) | (col(User.email) == user.email),
            )
            .order_by((col(User.account_id) == user.account_id).desc().nulls_last())
            .with_for_update()
        )
        before = (await self.session.execute(query)).scalars().first()
        if before is None:
            self.session.add(user)
            await self.session.flush()
            return user
        before.account_id, before.email = user.account_id, user.email
        before.is_active, before.removed_at, before.updated_at = True, None, now()
        for name in ("first_name", "last_name", "full_name"):
            setattr(before, name, getattr(user, name) or getattr(before, name))
        self.session.add(before)
        await self.session.flush()
        return before

    async def tenant(self, tenant_id: UUID) -> Tenant:
        return (await self.session.execute(select(Tenant).where(col(Tenant.id) == tenant_id))).scalar_one()

    async def confirm(self, account_id: UUID) -> None:
        """The person could read a mail to the address."""
        confirming = update(Account).where(col(Account.id) == account_id, col(Account.email_verified_at).is_(None))
        await self.session.execute(confirming.values(email_verified_at=now()))

    async def memberships(self, account_id: UUID) -> list[Membership]:
        """Where the account belongs now, the tenant that it signed in to last first."""
        query = (
            select(User, Tenant)
            .join(Tenant, col(Tenant.id) == col(User.tenant_id))
            .where(
                col(User.account_id) == account_id,
                col(User.removed_at).is_(None),
                col(User.is_active),
                col(Tenant.deleted_at).is_(None),
            )
            .order_by(col(User.last_login_at).desc().nulls_last(), col(User.id))
        )
        rows: Sequence[Any] = (await self.session.execute(query)).all()
        held = (
            select(col(UserRole.user_id), col(Role.name))
            .join(Role, col(Role.id) == col(UserRole.role_id))
            .where(col(UserRole.user_id).in_([user.id for user, _ in rows]))
            .order_by(col(Role.id))
        )
        names: dict[UUID, list[str]] = {}
        for row in (await self.session.execute(held)).all():
            names.setdefault(row[0], []).append(row[1])
        return [Membership(user, tenant, tuple(names.get(user.id, ()))) for user, tenant in rows]

    async def is_known_network(self, email: str, network: str | None) -> bool:
        """Whether the account of an address signed in from a network lately. As long for an address that nobody has."""
        query = (
            select(col(Session.id))
            .join(Account, col(Account.id) == col(Session.account_id))
            .where(
                col(Account.email) == email,
                col(Session.network) == network,
                col(Session.created_at) > now() - _KNOWN_FOR,
            )
            .limit(1)
        )
        return (await self.session.execute(query)).scalar_one_or_none() is not None

    async def put_token(self, account_id: UUID, purpose: str, token_hash: str, expires_at: datetime) -> None:
        """The one token of an account for a purpose; those before it work no more."""
        await self.drop_tokens(account_id, purpose)
        self.session.add(
            AccountToken(account_id=account_id, purpose=purpose, token_hash=token_hash, expires_at=expires_at)
        )
        await self.session.flush()

    async def take_token(self, purpose: str, token_hash: str) -> UUID | None:
        """Uses a token up; the account that it was for, None where it does not work."""
        taken = (
            delete(AccountToken)
            .where(col(AccountToken.token_hash) == token_hash, col(AccountToken.purpose) == purpose)
            .returning(col(AccountToken.account_id), col(AccountToken.expires_at))
        )
        row = (await self.session.execute(taken)).one_or_none()
        return row.account_id if row is not None and row.expires_at > now() else None

    async def drop_tokens(self, account_id: UUID, purpose: str) -> None:
        await self.session.execute(
            delete(AccountToken).where(col(AccountToken.account_id) == account_id, col(AccountToken.purpose) == purpose)
        )

    async def put_state(self, state_hash: str, provider: str, expires_at: datetime) -> None:
        """A sign-in elsewhere begins; those that were never finished are forgotten."""
        await self.session.execute(delete(OAuthState).where(col(OAuthState.expires_at) < now()))
        self.session.add(OAuthState(state_hash=state_hash, provider=provider, expires_at=expires_at))
        await self.session.flush()

    async def take_state(self, state_hash: str) -> str | None:
        """Uses a state up; the provider's name, None where it does not work."""
        taken = (
            delete(OAuthState)
            .where(col(OAuthState.state_hash) == state_hash)
            .returning(col(OAuthState.provider), col(OAuthState.expires_at))
        )
        row = (await self.session.execute(taken)).one_or_none()
        return str(row.provider) if row is not None and row.expires_at > now() else None

    async def claim_period(self, account_id: UUID, period: int) -> bool:
        """Uses the code of a period up: False if it, or a later one, was used before."""
        claimed = (
            update(Account)
            .where(
                col(Account.id) == account_id,
                (col(Account.mfa_last_period).is_(None)) | (col(Account.mfa_last_period) < period),
            )
            .values(mfa_last_period=period)
            .returning(col(Account.id))
        )
        return (await self.session.execute(claimed)).scalar_one_or_none() is not None


def forget_codes(account: Account) -> None:
    """Whoever has the password needs no code any more."""
    account.mfa_enabled, account.mfa_secret, account.mfa_master_key_id = False, None, None
    account.mfa_last_period, account.recovery_codes = None, []


def totp_context(account_id: UUID) -> bytes:
    """What the wrapped secret of an account's codes is bound to."""
    return _TOTP_CONTEXT + account_id.bytes


async def rewrap_totp_secrets(session: AsyncSession, wrapper: KeyWrapper) -> int:
    """Wraps all secrets of codes with the master key of now. How many there were."""
    rows: list[Account] = list(
        (await session.execute(select(Account).where(col(Account.mfa_secret).is_not(None)))).scalars().all()
    )
    for row in rows:
        assert row.mfa_secret is not None
        secret = await wrapper.unwrap(row.mfa_master_key_id or "", row.mfa_secret, totp_context(row.id))
        row.mfa_master_key_id, row.mfa_secret = await wrapper.wrap(secret, totp_context(row.id))
        session.add(row)
    await session.flush()
    return len(rows)
