"""New people: with a tenant of their own, or invited into one. Whoever makes them, an account is written once."""

from __future__ import annotations

import asyncio
from uuid import UUID
from weakref import WeakValueDictionary

from cachetools import TTLCache

from api.auth.emails import normalised
from api.auth.identity import Identity, NewPerson
from api.auth.local import VERIFY, VERIFY_LIFE
from api.auth.principal import Origin, Principal
from api.auth.slugs import slugs_for
from api.schemas.auth import AcceptRequest, RegisterRequest
from api.services.auditing import audited_by_system
from api.services.sessions import Opened, SessionService, SignedIn
from api.wiring import Wiring
from models.repositories.identity import Accounts
from models.repositories.members import find_invitation
from models.repositories.roles import grant_roles
from models.tables import Account, Invitation, Tenant, User
from models.tables.base import now
from omium_core.errors import (
    EmailUnavailable,
    InvalidInput,
    NotAuthenticated,
    Problem,
    SignUpClosed,
)

_TAKEN = "This address cannot be registered. If it is yours, sign in, or reset the password."
_NO_INVITATION = "The invitation is wrong, was used or revoked, or is over. Ask for another."
#: One at a time for each address in this process: of a thousand that come at once, one pays for a hash.
_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
#: Addresses that were found to be somebody's a moment ago: the rest of the thousand need not ask the database.
_taken: TTLCache[str, bool] = TTLCache(maxsize=10_000, ttl=2)


class SignUpService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._people = process.people
        self._sessions = SessionService(process)

    async def register(self, wanted: RegisterRequest, origin: Origin) -> SignedIn | None:
        """The new person, signed in; None where a mail must be answered first, also for an address that is somebody's.

        Raises `EmailUnavailable`, `SignUpClosed`, `InvalidInput`.
        """
        settings = self._process.settings
        if settings.sign_up != "open":
            raise SignUpClosed("This installation takes new people by invitation only.")
        email = normalised(wanted.email)
        person = NewPerson(email, wanted.password, wanted.first_name, wanted.last_name, wanted.tenant_name)
        lock = _locks.setdefault(email, asyncio.Lock())
        async with lock:
            if not settings.require_verified_email and (email in _taken or await self._is_taken(email)):
                _taken[email] = True
                raise EmailUnavailable(_TAKEN)
            identity = await self._people.provider.sign_up(person)
            if identity is None:
                return None
            try:
                signed_in = await self.provision(identity, wanted.tenant_name, origin)
            except EmailUnavailable:
                if not settings.require_verified_email:
                    raise
                if await self._people.limiter.may_mail(email, "registered"):
                    self._people.mailroom.post(self._people.letters.registered_again(email))
                return None
        return None if settings.require_verified_email and not identity.email_verified else signed_in

    async def provision(self, identity: Identity, tenant_name: str | None, origin: Origin) -> SignedIn:
        """Account, tenant, its credits, owner and system roles of a new person, in one transaction. Raises `EmailUnavailable`."""
        account, token = _account_of(identity), self._people.secrets.new_token()
        name = tenant_name or identity.tenant_name or _tenant_name(identity)
        async with self._process.database.system() as session:
            accounts = Accounts(session)
            if not await accounts.add(account):
                raise EmailUnavailable(_TAKEN)
            tenant = await accounts.add_tenant(name, list(slugs_for(name)), self._process.settings.signup_credits)
            user = _user_of(identity, account.id, tenant.id)
            # the first user of an account goes by its id: tenants that the person joins later find them by it too
            user.id = account.id
            await accounts.add_user(user, "owner")
            if not identity.email_verified and identity.hashed_password is not None:
                digest = self._people.secrets.hash(VERIFY, token)
                await accounts.put_token(account.id, VERIFY, digest, now() + VERIFY_LIFE)
            opened = await self._sessions.open(session, account, user, identity.method, origin)
        if not identity.email_verified and identity.hashed_password is not None:
            self._people.mailroom.post(self._people.letters.verification(identity.email, token))
        await self._told(tenant, user, "auth.register", {"tenant": tenant.slug, "method": identity.method}, origin)
        return await self._sessions.signed_in(opened, account, user, tenant)

    async def accept(self, wanted: AcceptRequest, caller: Principal | None, origin: Origin) -> SignedIn | None:
        """The invited person, signed in to the tenant; None where a mail of the identity provider must be answered first.

        Raises `NotAuthenticated` for a token that does not work, and for somebody who is not the one that was invited.
        """
        digest = self._people.secrets.hash("invitation", wanted.token)
        async with self._process.database.system() as session:
            invitation = await find_invitation(session, digest)
        if invitation is None:
            raise NotAuthenticated(_NO_INVITATION)
        known = await self._known(invitation, wanted, caller)
        if isinstance(known, Account):
            account, identity, is_new = known, None, False
        elif known is None:
            return None
        else:
            account, identity, is_new = _account_of(known), known, True
        async with self._process.database.system() as session:
            locked = await find_invitation(session, digest, lock=True)
            if locked is None:
                raise NotAuthenticated(_NO_INVITATION)
            accounts = Accounts(session)
            if is_new and not await accounts.add(account):
                raise EmailUnavailable("This address has an account by now: accept with its password.")
            # the token was in a mail to this address
            await accounts.confirm(account.id)
            account.email_verified_at = account.email_verified_at or now()
            user = await accounts.joined(_joining(account, invitation.tenant_id, identity, wanted))
            await grant_roles(
                session, invitation.tenant_id, user.id, [UUID(role) for role in locked.roles], locked.invited_by
            )
            locked.accepted_at, locked.accepted_by = now(), user.id
            session.add(locked)
            await session.flush()
            tenant = await accounts.tenant(invitation.tenant_id)
            opened: Opened = await self._sessions.open(session, account, user, "invitation", origin)
        await self._told(tenant, user, "member.join", {"invitation_id": str(invitation.id)}, origin)
        return await self._sessions.signed_in(opened, account, user, tenant)

    async def _known(
        self, invitation: Invitation, wanted: AcceptRequest, caller: Principal | None
    ) -> Account | Identity | None:
        """The account that was invited, proven; or who is to get one; or None when a mail must be answered first."""
        email, provider = invitation.email, self._people.provider
        if caller is not None:
            account, _ = await self._sessions.account_of(caller)
            if account.email != email:
                raise NotAuthenticated("You are signed in with another address than the one that was invited.")
            return account
        if wanted.password is None:
            problem = Problem("password", "Is needed, unless you are signed in")
            raise InvalidInput(f"password: {problem.message}.", [problem])
        async with self._process.database.system() as session:
            account_row = await Accounts(session).by_email(email)
        if account_row is not None:
            async with self._people.limiter.guess(email, None, None):
                await provider.sign_in(email, wanted.password, wanted.totp_code)
            return account_row
        person = NewPerson(email, wanted.password, wanted.first_name, wanted.last_name)
        try:
            return await provider.sign_up(person)
        except EmailUnavailable:
            # the provider knows the person, although nobody here does
            return await provider.sign_in(email, wanted.password, wanted.totp_code)

    async def _is_taken(self, email: str) -> bool:
        async with self._process.database.system() as session:
            return await Accounts(session).by_email(email) is not None

    async def _told(self, tenant: Tenant, user: User, action: str, values: dict[str, str], origin: Origin) -> None:
        await audited_by_system(
            self._process.database, tenant.id, action, "user", user.id, user_id=user.id, new=values, origin=origin
        )


def _account_of(identity: Identity) -> Account:
    return Account(
        email=identity.email,
        email_verified_at=now() if identity.email_verified else None,
        hashed_password=identity.hashed_password,
        auth_provider=identity.provider,
        oauth_provider_id=identity.subject or None,
    )


def _user_of(identity: Identity, account_id: UUID, tenant_id: UUID) -> User:
    full_name = " ".join(name for name in (identity.first_name, identity.last_name) if name)
    return User(
        tenant_id=tenant_id,
        account_id=account_id,
        email=identity.email,
        first_name=identity.first_name,
        last_name=identity.last_name,
        full_name=full_name or None,
        avatar_url=identity.avatar_url,
    )


def _joining(account: Account, tenant_id: UUID, identity: Identity | None, wanted: AcceptRequest) -> User:
    person = identity or Identity(
        account.auth_provider, "", account.email, True, first_name=wanted.first_name, last_name=wanted.last_name
    )
    return _user_of(person, account.id, tenant_id)


def _tenant_name(identity: Identity) -> str:
    return identity.first_name or identity.email.partition("@")[0]
