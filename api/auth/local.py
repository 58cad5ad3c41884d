"""People whose passwords this installation keeps: argon2id hashes, tokens by mail, codes of an authenticator app."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from api.auth import totp
from api.auth.guessing import GuessLimiter
from api.auth.identity import Identity, NewPerson, OAuthStart
from api.auth.letters import Letters
from api.auth.passwords import Passwords, check_new_password
from api.auth.secrets import Secrets
from models.database import Database
from models.repositories.identity import Accounts, forget_codes, totp_context
from models.repositories.sessions import Sessions
from models.tables import Account
from models.tables.base import now
from omium_core.errors import EmailNotVerified, MfaRequired, NotAuthenticated, NotSupported
from omium_core.keyring import KeyWrapper
from omium_core.mail import Mailroom

VERIFY, RESET = "verify_email", "reset_password"
VERIFY_LIFE, _RESET_LIFE = timedelta(days=2), timedelta(hours=1)
_WRONG = "The address, the password or the code is wrong."
_SPENT = "The token is wrong, was used, or is over. Ask for another."
_NO_OAUTH = "This installation signs people in by password alone."


class LocalIdentities:
    """An `IdentityProvider`. The account itself is the identity: its id is the subject."""

    name = "local"

    def __init__(
        self,
        database: Database,
        wrapper: KeyWrapper,
        secrets: Secrets,
        passwords: Passwords,
        limiter: GuessLimiter,
        mailroom: Mailroom,
        letters: Letters,
        *,
        must_verify: bool,
    ) -> None:
        self._database = database
        self._wrapper = wrapper
        self._secrets = secrets
        self._passwords = passwords
        self._limiter = limiter
        self._mailroom = mailroom
        self._letters = letters
        self._must_verify = must_verify

    async def sign_up(self, person: NewPerson) -> Identity | None:
        """Somebody whose account is still to be written: that is left to who makes the tenant, in one transaction."""
        check_new_password(person.password, person.email, person.first_name, person.last_name)
        hashed = await self._passwords.hash(person.password)
        return Identity(
            self.name,
            "",
            person.email,
            False,
            first_name=person.first_name,
            last_name=person.last_name,
            hashed_password=hashed,
        )

    async def sign_in(self, email: str, password: str, code: str | None) -> Identity:
        async with self._database.system() as session:
            account = await Accounts(session).by_email(email)
        hashed = account.hashed_password if account is not None else None
        if not await self._passwords.verify(hashed, password) or account is None or hashed is None:
            raise NotAuthenticated(_WRONG)
        if self._must_verify and account.email_verified_at is None:
            raise EmailNotVerified("Confirm your address first: a mail tells how. Another one can be asked for.")
        if account.mfa_enabled:
            await self._check_code(account, code)
        if self._passwords.is_outdated(hashed):
            await self._set_hash(account.id, hashed, await self._passwords.hash(password))
        return self._identity(account)

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
        raise NotSupported(_NO_OAUTH)

    async def finish_oauth(self, provider: str, code: str, verifier: str) -> Identity:
        raise NotSupported(_NO_OAUTH)

    async def exchange(self, token: str) -> Identity:
        raise NotSupported("This installation has no other identity provider whose tokens it could take.")

    async def send_verification(self, email: str) -> None:
        async with self._database.system() as session:
            accounts = Accounts(session)
            account = await accounts.by_email(email)
            if account is None or account.email_verified_at is not None or account.hashed_password is None:
                return
            token = self._secrets.new_token()
            await accounts.put_token(account.id, VERIFY, self._secrets.hash(VERIFY, token), now() + VERIFY_LIFE)
        self._mailroom.post(self._letters.verification(email, token))

    async def verify_email(self, token: str) -> str:
        async with self._database.system() as session:
            account = await self._taken(Accounts(session), VERIFY, token)
            account.email_verified_at = account.email_verified_at or now()
            session.add(account)
        return account.email

    async def send_reset(self, email: str) -> None:
        async with self._database.system() as session:
            accounts = Accounts(session)
            account = await accounts.by_email(email)
            if account is None or account.auth_provider != self.name:
                return
            token = self._secrets.new_token()
            await accounts.put_token(account.id, RESET, self._secrets.hash(RESET, token), now() + _RESET_LIFE)
        self._mailroom.post(self._letters.reset(email, token))

    async def reset_password(self, token: str, password: str) -> str:
        """Ends all sessions of the account. Who could read the mail owns the address, which is verified from now on."""
        check_new_password(password)
        hashed = await self._passwords.hash(password)
        async with self._database.system() as session:
            account = await self._taken(Accounts(session), RESET, token)
            if account.email_verified_at is None:
                # somebody else may have registered the address, and waits behind an authenticator app of their own
                forget_codes(account)
            account.hashed_password = hashed
            account.email_verified_at = account.email_verified_at or now()
            account.updated_at = now()
            session.add(account)
            await Sessions(session).end_all(account.id, "password")
        self._mailroom.post(self._letters.password_changed(account.email))
        return account.email

    async def change_password(self, account_id: UUID, email: str, current: str, password: str) -> None:
        check_new_password(password, email, path="new_password")
        async with self._database.system() as session:
            account = await Accounts(session).get(account_id)
        if account is None or not await self._passwords.verify(account.hashed_password, current):
            raise NotAuthenticated("The current password is wrong.")
        await self._set_hash(account_id, account.hashed_password, await self._passwords.hash(password))
        self._mailroom.post(self._letters.password_changed(account.email))

    async def _taken(self, accounts: Accounts, purpose: str, token: str) -> Account:
        account_id = await accounts.take_token(purpose, self._secrets.hash(purpose, token))
        account = await accounts.get(account_id, lock=True) if account_id is not None else None
        if account is None:
            raise NotAuthenticated(_SPENT)
        return account

    async def _set_hash(self, account_id: UUID, before: str | None, hashed: str) -> None:
        async with self._database.system() as session:
            account = await Accounts(session).get(account_id, lock=True)
            # a password that was set in between is the newer one
            if account is not None and account.hashed_password == before:
                account.hashed_password = hashed
                account.updated_at = now()
                session.add(account)

    async def _check_code(self, account: Account, code: str | None) -> None:
        if not code:
            raise MfaRequired("Send the code of your authenticator app, or a recovery code, as totp_code.")
        attempt = await self._limiter.admit_code(account.id)
        if not await self._use_code(account, code):
            raise NotAuthenticated(_WRONG)
        await self._limiter.forgive(attempt)

    async def _use_code(self, account: Account, code: str) -> bool:
        if account.mfa_secret is None:
            return False
        context = totp_context(account.id)
        secret = await self._wrapper.unwrap(account.mfa_master_key_id or "", account.mfa_secret, context)
        period = totp.period_of(secret.decode(), code)
        async with self._database.system() as session:
            accounts = Accounts(session)
            if period is not None:
                return await accounts.claim_period(account.id, period)
            locked = await accounts.get(account.id, lock=True)
            digest = self._secrets.hash("recovery", str(account.id), totp.plain_recovery_code(code))
            if locked is None or digest not in locked.recovery_codes:
                return False
            locked.recovery_codes = [kept for kept in locked.recovery_codes if kept != digest]
            session.add(locked)
            return True

    def _identity(self, account: Account) -> Identity:
        return Identity(self.name, str(account.id), account.email, account.email_verified_at is not None)
