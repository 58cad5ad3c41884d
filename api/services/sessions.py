"""Sessions of people: begun by every way of signing in, kept up by refresh tokens, ended one by one or all at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth.networks import network_of
from api.auth.people import permissions_of, principal_of
from api.auth.principal import Origin, Principal
from api.auth.secrets import session_of
from api.services.auditing import audited_by_system
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.identity import Accounts, Membership
from models.repositories.sessions import SessionRepository, Sessions, Standing
from models.tables import Account, Session, Tenant, User
from models.tables.base import now
from omium_core.errors import NotAuthenticated, NotPermitted, TokenReused

_OVER = "The refresh token is wrong, or its session is over. Sign in again."


@dataclass(frozen=True)
class Tokens:
    """What a client keeps: `expires_in` is the life of the access token in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True)
class Opened:
    """A session that is written and has no access token yet."""

    standing: Standing
    refresh_token: str


@dataclass(frozen=True)
class SignedIn:
    """A person who has just signed in to a tenant, and what the device keeps to be known again."""

    user: User
    tenant: Tenant
    email_verified: bool
    tokens: Tokens
    device: str


class SessionService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._people = process.people

    async def sign_in(
        self, account: Account, memberships: Sequence[Membership], tenant_id: UUID | None, method: str, origin: Origin
    ) -> SignedIn:
        """Begins a session in a tenant of the account: the one that is named, else the one of the last time.

        Raises `NotPermitted` when there is none.
        """
        chosen = [entry for entry in memberships if tenant_id is None or entry.tenant.id == tenant_id]
        if not chosen:
            raise NotPermitted("You belong to no such tenant. Ask to be invited." if tenant_id else _NOWHERE)
        user, tenant = chosen[0].user, chosen[0].tenant
        async with self._process.database.system() as session:
            opened = await self.open(session, account, user, method, origin)
        signed_in = await self.signed_in(opened, account, user, tenant)
        await audited_by_system(
            self._process.database,
            tenant.id,
            "auth.login",
            "user",
            user.id,
            user_id=user.id,
            new={"method": method},
            origin=origin,
        )
        return signed_in

    async def open(self, session: AsyncSession, account: Account, user: User, method: str, origin: Origin) -> Opened:
        """Writes a new session, in the caller's transaction of the platform."""
        row = Session(
            tenant_id=user.tenant_id,
            user_id=user.id,
            account_id=account.id,
            method=method,
            salt=os.urandom(16),
            address=(origin.address or "")[:64] or None,
            network=network_of(origin.address),
            user_agent=(origin.user_agent or "")[:255] or None,
            expires_at=self._expiry(),
        )
        sessions = Sessions(session)
        await sessions.add(row)
        await Accounts(session).touch(account.id, user.id)
        standing = await sessions.standing(row.id)
        if standing is None:
            raise NotAuthenticated(_OVER)
        return Opened(standing, self._people.secrets.refresh_token(row.id, row.salt, row.generation))

    async def signed_in(self, opened: Opened, account: Account, user: User, tenant: Tenant) -> SignedIn:
        """The tokens of a session whose transaction is over."""
        return SignedIn(
            user=user,
            tenant=tenant,
            email_verified=account.email_verified_at is not None,
            tokens=await self._tokens(opened),
            device=self._people.secrets.device_token(account.id),
        )

    async def refresh(self, token: str, origin: Origin) -> Tokens:
        """The next tokens of a session. A refresh token works once: one that was used ends the whole session.

        Raises `NotAuthenticated`, `TokenReused`.
        """
        named = session_of(token)
        if named is None:
            raise NotAuthenticated(_OVER)
        session_id, generation = named
        opened: Opened | None = None
        async with self._process.database.system() as session:
            sessions = Sessions(session)
            row = await sessions.locked(session_id)
            if row is None or not self._people.secrets.is_refresh_token(token, row.id, row.salt):
                raise NotAuthenticated(_OVER)
            if row.ended_at is not None or row.expires_at <= now():
                raise NotAuthenticated(_OVER)
            if row.generation == generation:
                row.generation += 1
                row.refreshed_at, row.expires_at = now(), self._expiry()
                session.add(row)
                await session.flush()
                standing = await sessions.standing(session_id)
                if standing is None:
                    raise NotAuthenticated(_OVER)
                opened = Opened(standing, self._people.secrets.refresh_token(row.id, row.salt, row.generation))
            else:
                await sessions.end(session_id, "reused")
        if opened is not None:
            return await self._tokens(opened)
        self._people.authenticator.forget(session_id)
        await audited_by_system(
            self._process.database,
            row.tenant_id,
            "auth.refresh_reused",
            "user",
            row.user_id,
            user_id=row.user_id,
            new={"session_id": str(session_id)},
            status="denied",
            origin=origin,
        )
        raise TokenReused("This refresh token was used before, by you or by somebody else: the session is over.")

    async def principal_of_refresh(self, token: str) -> Principal:
        """Who a refresh token belongs to, without using it up. Raises `NotAuthenticated`."""
        named = session_of(token)
        if named is not None:
            async with self._process.database.system() as session:
                sessions = Sessions(session)
                row = await sessions.locked(named[0])
                if row is not None and self._people.secrets.is_refresh_token(token, row.id, row.salt):
                    standing = await sessions.standing(row.id)
                    if standing is not None:
                        return principal_of(standing)
        raise NotAuthenticated(_OVER)

    async def end(
        self, caller: Principal, session_id: UUID | None, *, origin: Origin, everywhere: bool = False
    ) -> None:
        """Ends a session of the caller's, the present one if none is named; or all of the person's, in all tenants.

        Raises `SessionNotFound` for one that is not the caller's.
        """
        if caller.user_id is None or caller.session_id is None:
            raise NotPermitted("An API key has no session. Revoke it instead.")
        ended = session_id or caller.session_id
        async with self._process.database.transaction(caller.tenant_id) as tenant_session:
            row = await SessionRepository(tenant_session, caller.tenant_id).get(ended, user_id=caller.user_id)
        async with self._process.database.system() as session:
            if everywhere:
                await Sessions(session).end_all(row.account_id, "logout")
            else:
                await Sessions(session).end(ended, "logout")
        self._people.authenticator.forget(ended)
        await audited_by_system(
            self._process.database,
            caller.tenant_id,
            "auth.logout",
            "user",
            caller.user_id,
            user_id=caller.user_id,
            new={"session_id": str(ended), "everywhere": everywhere},
            origin=origin,
        )

    async def list(self, caller: Principal, page: Page) -> Listing[Session]:
        """Where the caller is signed in to this tenant."""
        if caller.user_id is None or caller.session_id is None:
            raise NotPermitted("An API key has no sessions, nor does it see those of who made it.")
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await SessionRepository(session, caller.tenant_id).list(page, user_id=caller.user_id)

    async def switch(self, caller: Principal, tenant_id: UUID, origin: Origin) -> SignedIn:
        """A session of the same person in another tenant; the present one goes on. Raises `NotPermitted`."""
        account, memberships = await self.account_of(caller)
        return await self.sign_in(account, memberships, tenant_id, "switch", origin)

    async def account_of(self, caller: Principal) -> tuple[Account, Sequence[Membership]]:
        """The account behind a person who signed in, and where it belongs. Raises `NotPermitted` for an API key."""
        if caller.session_id is None:
            raise NotPermitted("This is for people who signed in, not for API keys.")
        async with self._process.database.system() as session:
            standing = await Sessions(session).standing(caller.session_id)
            accounts = Accounts(session)
            account = await accounts.get(standing.account_id) if standing is not None else None
            if account is None:
                raise NotAuthenticated(_OVER)
            return account, await accounts.memberships(account.id)

    async def _tokens(self, opened: Opened) -> Tokens:
        access = self._people.tokens
        token = await access.issue(opened.standing, permissions_of(opened.standing.roles))
        return Tokens(token, opened.refresh_token, access.seconds)

    def _expiry(self) -> datetime:
        return now() + timedelta(days=self._process.settings.refresh_token_days)


_NOWHERE = "You belong to no tenant any more. Ask to be invited."
