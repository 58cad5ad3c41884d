"""People who come back: by password, by another site, or with a token of the identity provider's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from api.auth.emails import as_guessed
from api.auth.identity import Identity
from api.auth.networks import network_of
from api.auth.principal import Origin, Principal
from api.schemas.auth import ExchangeRequest, LoginRequest
from api.services.auditing import audited_by_system
from api.services.sessions import SessionService, SignedIn
from api.services.sign_up import SignUpService
from api.wiring import Wiring
from models.repositories.identity import Accounts, Membership
from models.repositories.keys import KeyRepository
from models.repositories.members import MemberRepository
from models.repositories.sessions import Sessions
from models.tables import Account, ApiKey, Tenant, User
from models.tables.base import now
from omium_core.errors import EmailUnavailable, MfaRequired, NotAuthenticated, NotPermitted, SignUpClosed

_OAUTH_LIFE = timedelta(minutes=10)
CALLBACK = "/api/v1/auth/oauth/callback"


@dataclass(frozen=True)
class Me:
    """Who is asking: a person with an account, or an API key."""

    user: User | None
    account: Account | None
    tenant: Tenant
    roles: tuple[str, ...]
    memberships: Sequence[Membership]
    key: ApiKey | None = None


@dataclass(frozen=True)
class OAuthJourney:
    """Where the browser is sent, and what it must bring back."""

    url: str
    cookie: str


class SignInService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._people = process.people
        self._sessions = SessionService(process)

    async def login(self, wanted: LoginRequest, device: str | None, origin: Origin) -> SignedIn:
        """Raises `NotAuthenticated` (whether the address is known or not), `MfaRequired`, `TooManyAttempts`."""
        email = as_guessed(wanted.email)
        async with self._people.limiter.guess(email, network_of(origin.address), device):
            try:
                identity = await self._people.provider.sign_in(email, wanted.password, wanted.totp_code)
            except MfaRequired:
                raise
            except NotAuthenticated:
                await self._failed(email, origin)
                raise
        return await self._enter(identity, wanted.tenant_id, origin)

    async def exchange(self, wanted: ExchangeRequest, origin: Origin) -> SignedIn:
        """Raises `NotAuthenticated`, `NotSupported`."""
        identity = await self._people.provider.exchange(wanted.access_token)
        return await self._enter(identity, wanted.tenant_id, origin)

    async def start_oauth(self, provider: str) -> OAuthJourney:
        """A sign-in at another site. The browser keeps the verifier, and may come back with it once, within ten minutes."""
        state = self._people.secrets.new_token()
        back = f"{self._process.settings.public_url.rstrip('/')}{CALLBACK}?state={state}"
        start = await self._people.provider.start_oauth(provider, back)
        digest = self._people.secrets.hash("oauth", state, start.verifier)
        async with self._process.database.system() as session:
            await Accounts(session).put_state(digest, provider, now() + _OAUTH_LIFE)
        return OAuthJourney(start.url, start.verifier)

    async def finish_oauth(self, code: str, state: str, verifier: str | None, origin: Origin) -> SignedIn:
        """Raises `NotAuthenticated` for a browser that did not begin this, or that has been here before."""
        digest = self._people.secrets.hash("oauth", state, verifier or "")
        async with self._process.database.system() as session:
            provider = await Accounts(session).take_state(digest)
        if provider is None or not verifier:
            raise NotAuthenticated("This sign-in was not begun in this browser, or is over. Begin again.")
        identity = await self._people.provider.finish_oauth(provider, code, verifier)
        return await self._enter(identity, None, origin)

    async def me(self, caller: Principal) -> Me:
        if caller.session_id is not None:
            account, memberships = await self._sessions.account_of(caller)
            here = next((entry for entry in memberships if entry.tenant.id == caller.tenant_id), None)
            if here is None:
                raise NotAuthenticated("The session is over. Sign in again.")
            return Me(here.user, account, here.tenant, here.roles, memberships)
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = await MemberRepository(session, caller.tenant_id).tenant()
            key = await KeyRepository(session, caller.tenant_id).find(caller.key_id) if caller.key_id else None
        if key is None:
            # it was revoked a moment ago
            raise NotAuthenticated("The API key is unknown, expired or revoked.")
        return Me(None, None, tenant, (), [], key)

    async def _enter(self, identity: Identity, tenant_id: UUID | None, origin: Origin) -> SignedIn:
        """The person's account, made at the first sign-in where the provider is somewhere else."""
        async with self._process.database.system() as session:
            accounts = Accounts(session)
            account = await self._account(accounts, identity)
            memberships = await accounts.memberships(account.id) if account is not None else []
        if account is not None:
            return await self._sessions.sign_in(account, memberships, tenant_id, identity.method, origin)
        if self._process.settings.sign_up != "open":
            raise SignUpClosed("This installation takes new people by invitation only.")
        if self._process.settings.require_verified_email and not identity.email_verified:
            raise NotPermitted("Confirm your address at the identity provider first.")
        return await SignUpService(self._process).provision(identity, None, origin)

    async def _account(self, accounts: Accounts, identity: Identity) -> Account | None:
        if identity.provider == "local":
            return await accounts.get(UUID(identity.subject))
        account = await accounts.by_provider(identity.provider, identity.subject)
        if account is not None:
            return account
        same = await accounts.by_email(identity.email, lock=True)
        if same is None:
            return None
        if not identity.email_verified or same.auth_provider == identity.provider:
            # whoever claims an address without proof gets nobody's account
            raise EmailUnavailable("This address belongs to another account.")
        if same.email_verified_at is None:
            # it was never shown to be theirs who have been using it
            await Sessions(accounts.session).end_all(same.id, "account")
        same.auth_provider, same.oauth_provider_id = identity.provider, identity.subject
        same.hashed_password, same.email_verified_at = None, same.email_verified_at or now()
        accounts.session.add(same)
        await accounts.session.flush()
        return same

    async def _failed(self, email: str, origin: Origin) -> None:
        """Tells the log of each tenant that the address works for."""
        async with self._process.database.system() as session:
            accounts = Accounts(session)
            account = await accounts.by_email(email)
            memberships = await accounts.memberships(account.id) if account is not None else []
        for entry in memberships:
            values: dict[str, Any] = {"method": "password"}
            await audited_by_system(
                self._process.database,
                entry.tenant.id,
                "auth.login",
                "user",
                entry.user.id,
                user_id=entry.user.id,
                new=values,
                status="denied",
                origin=origin,
            )
