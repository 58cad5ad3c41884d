"""What people do about their own passwords, addresses and codes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from api.auth import totp
from api.auth.emails import as_guessed
from api.auth.networks import network_of
from api.auth.principal import Origin, Principal
from api.services.auditing import audited_by_system
from api.services.sessions import SessionService
from api.wiring import Wiring
from models.repositories.identity import Accounts, Membership, forget_codes, totp_context
from models.repositories.sessions import Sessions
from models.tables import Account
from omium_core.errors import Conflict, InvalidInput, NotAuthenticated, NotSupported, OmiumError, Problem

log = structlog.get_logger(__name__)

#: Requests for mails that are being worked on, so that nothing of them is lost.
_under_way: set[asyncio.Task[None]] = set()


class CredentialService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._people = process.people
        self._sessions = SessionService(process)

    def ask_for_mail(self, email: str, purpose: str) -> None:
        """Sends a mail with a token (`verify` or `reset`) soon, if there is somebody to send it to.

        Nothing is looked up before the answer is out: it takes as long for an address that nobody has.
        """
        task = asyncio.create_task(self._mail(as_guessed(email), purpose))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)

    async def verify_email(self, token: str, origin: Origin) -> None:
        """Raises `NotAuthenticated` for a token that does not work."""
        email = await self._people.provider.verify_email(token)
        await self._told_everywhere(email, "auth.verify_email", origin)

    async def reset_password(self, token: str, password: str, origin: Origin) -> str | None:
        """Sets the password and ends all sessions; what the device keeps to be known again.

        Raises `NotAuthenticated` for a token that does not work, `InvalidInput` for a password that will not do.
        """
        email = await self._people.provider.reset_password(token, password)
        async with self._process.database.system() as session:
            account = await Accounts(session).by_email(email)
            if account is not None:
                await Sessions(session).end_all(account.id, "password")
        await self._told_everywhere(email, "auth.reset_password", origin)
        return self._people.secrets.device_token(account.id) if account is not None else None

    async def change_password(self, caller: Principal, current: str, password: str) -> None:
        """Ends all other sessions of the person. Raises `NotAuthenticated` when `current` is wrong."""
        account, memberships = await self._sessions.account_of(caller)
        if current == password:
            problem = Problem("new_password", "Must be another than the current one")
            raise InvalidInput(f"new_password: {problem.message}", [problem])
        provider = self._people.provider
        await self._judged(
            account,
            caller.origin,
            lambda: provider.change_password(account.id, account.email, current, password),
        )
        async with self._process.database.system() as session:
            await Sessions(session).end_all(account.id, "password", but=caller.session_id)
        await self._told(memberships, "auth.change_password", caller.origin)

    async def enrol_mfa(self, caller: Principal, password: str) -> tuple[str, str]:
        """A new secret, and the address that shows it to an app; it counts once a code has confirmed it."""
        account, _ = await self._own(caller)
        if account.mfa_enabled:
            raise Conflict("Codes are asked for already. Disable them first.")
        provider = self._people.provider
        await self._judged(account, caller.origin, lambda: provider.sign_in(account.email, password, None))
        secret = totp.new_secret()
        master, wrapped = await self._people.wrapper.wrap(secret.encode(), totp_context(account.id))
        async with self._process.database.system() as session:
            row = await self._locked(Accounts(session), account)
            if row.mfa_enabled:
                raise Conflict("Codes are asked for already. Disable them first.")
            row.mfa_secret, row.mfa_master_key_id, row.mfa_last_period = wrapped, master, None
            session.add(row)
        return secret, totp.uri_of(secret, account.email)

    async def confirm_mfa(self, caller: Principal, code: str) -> list[str]:
        """From now on a code is asked for. The recovery codes, which are shown this once."""
        account, memberships = await self._own(caller)
        if account.mfa_enabled or account.mfa_secret is None:
            raise Conflict("There is nothing to confirm: enrol first.")
        attempt = await self._people.limiter.admit_code(account.id)
        context = totp_context(account.id)
        secret = await self._people.wrapper.unwrap(account.mfa_master_key_id or "", account.mfa_secret, context)
        period = totp.period_of(secret.decode(), code)
        if period is None:
            raise NotAuthenticated("The code is wrong.")
        await self._people.limiter.forgive(attempt)
        codes = totp.new_recovery_codes()
        async with self._process.database.system() as session:
            row = await self._locked(Accounts(session), account)
            if row.mfa_enabled or row.mfa_secret != account.mfa_secret:
                raise Conflict("Another enrolment came in between: begin again.")
            row.mfa_enabled, row.mfa_last_period = True, period
            row.recovery_codes = [
                self._people.secrets.hash("recovery", str(account.id), totp.plain_recovery_code(code)) for code in codes
            ]
            session.add(row)
        await self._told(memberships, "auth.mfa_enable", caller.origin)
        return codes

    async def disable_mfa(self, caller: Principal, password: str, code: str) -> None:
        """Takes the password and a code, so that an open session alone is not enough."""
        account, memberships = await self._own(caller)
        if not account.mfa_enabled:
            raise Conflict("No codes are asked for.")
        provider = self._people.provider
        await self._judged(account, caller.origin, lambda: provider.sign_in(account.email, password, code))
        async with self._process.database.system() as session:
            row = await self._locked(Accounts(session), account)
            forget_codes(row)
            session.add(row)
        await self._told(memberships, "auth.mfa_disable", caller.origin)

    async def _mail(self, email: str, purpose: str) -> None:
        try:
            if not await self._people.limiter.may_mail(email, purpose):
                return
            if purpose == "reset":
                await self._people.provider.send_reset(email)
            else:
                await self._people.provider.send_verification(email)
        except OmiumError as error:
            # nobody waits for this answer any more
            log.error("a mail was asked for and could not be made", purpose=purpose, error=str(error))

    async def _judged(self, account: Account, origin: Origin, prove: Callable[[], Awaitable[object]]) -> None:
        """Does what proves a password, as a guess that is counted: an open session must not help to guess it."""
        async with self._people.limiter.guess(account.email, network_of(origin.address), None):
            await prove()

    async def _own(self, caller: Principal) -> tuple[Account, Sequence[Membership]]:
        account, memberships = await self._sessions.account_of(caller)
        if account.auth_provider != "local":
            raise NotSupported("Your identity provider looks after codes: set them up there.")
        return account, memberships

    @staticmethod
    async def _locked(accounts: Accounts, account: Account) -> Account:
        row = await accounts.get(account.id, lock=True)
        if row is None:
            raise NotAuthenticated("The account is gone.")
        return row

    async def _told_everywhere(self, email: str, action: str, origin: Origin) -> None:
        async with self._process.database.system() as session:
            accounts = Accounts(session)
            account = await accounts.by_email(email)
            memberships = await accounts.memberships(account.id) if account is not None else []
        await self._told(memberships, action, origin)

    async def _told(self, memberships: Sequence[Membership], action: str, origin: Origin) -> None:
        for entry in memberships:
            await audited_by_system(
                self._process.database,
                entry.tenant.id,
                action,
                "user",
                entry.user.id,
                user_id=entry.user.id,
                origin=origin,
            )
