"""Slows guessing down without locking anybody out (decision 15).

A guess is counted before it is judged. Guesses on a device on which the account signed in before are counted for that device
alone; of all others, per address and network, and where they are strangers to the account, also per account and per network
over all their targets. What waits is told how long.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from api.auth.secrets import Secrets
from models.database import Database
from models.repositories.guesses import Guesses, Tolerance
from models.repositories.identity import Accounts
from models.repositories.sessions import Sessions
from models.tables.base import now
from omium_core.errors import MfaRequired, NotAuthenticated, OmiumError, TooManyAttempts

_DEVICE = Tolerance(free=10, longest=timedelta(minutes=15))
_PAIR = Tolerance(free=5, longest=timedelta(minutes=15))
#: Short at its longest: an attack on an account must not keep its owner out who comes from somewhere new.
_STRANGERS = Tolerance(free=30, longest=timedelta(seconds=60))
_SPRAYING = Tolerance(free=60, longest=timedelta(minutes=5))
#: Codes can only be guessed by who knows the password.
_CODES = Tolerance(free=10, longest=timedelta(minutes=15))
_MAILS = Tolerance(free=5, longest=timedelta(hours=1))
#: One guess in so many tidies up.
_SWEEP_EVERY = 500
_OVER = timedelta(days=1)
_SESSIONS_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class Attempt:
    """A guess that was counted under these keys and may be judged."""

    counted: tuple[tuple[str, Tolerance], ...]
    #: Forgotten when the guess was right; the others count for more than this one person.
    own: tuple[str, ...]


class GuessLimiter:
    def __init__(self, database: Database, secrets: Secrets) -> None:
        self._database = database
        self._secrets = secrets

    @asynccontextmanager
    async def guess(self, email: str, network: str | None, device: str | None) -> AsyncIterator[None]:
        """Counts what is done inside as a guess at an address; one that was right, or was never judged, is none.

        Raises `TooManyAttempts` for one that has to wait.
        """
        attempt = await self._admit(email, network, device)
        try:
            yield
        except OmiumError as error:
            wrong = isinstance(error, NotAuthenticated) and not isinstance(error, MfaRequired)
            if not wrong:
                # the password was right, or its keeper was away; what was guessed before is not forgotten
                await self.forgive(attempt, clear=False)
            raise
        await self.forgive(attempt)

    async def _admit(self, email: str, network: str | None, device: str | None) -> Attempt:
        """Counts a guess at an address; the same is done for an address that nobody has. Raises `TooManyAttempts`."""
        if secrets.randbelow(_SWEEP_EVERY) == 0:
            await self._sweep()
        async with self._database.system() as session:
            accounts = Accounts(session)
            account = await accounts.by_email(email)
            if account is not None and device and self._secrets.is_device_of(account.id, device):
                keys = [(self._secrets.hash("guess-device", email, device), _DEVICE)]
            else:
                keys = [(self._secrets.hash("guess-pair", email, network or ""), _PAIR)]
                if not await accounts.is_known_network(email, network):
                    keys.append((self._secrets.hash("guess-account", email), _STRANGERS))
                    keys.append((self._secrets.hash("guess-network", network or ""), _SPRAYING))
            return await _counted(Guesses(session), keys)

    async def admit_code(self, account_id: UUID) -> Attempt:
        """Counts a guess at the code of an account whose password was right."""
        async with self._database.system() as session:
            keys = [(self._secrets.hash("guess-code", str(account_id)), _CODES)]
            return await _counted(Guesses(session), keys)

    async def may_mail(self, email: str, purpose: str) -> bool:
        """Whether another mail of this kind may go to an address: nobody's mailbox is filled by asking."""
        async with self._database.system() as session:
            return await Guesses(session).count(self._secrets.hash("mail", purpose, email), _MAILS) is None

    async def forgive(self, attempt: Attempt, *, clear: bool = True) -> None:
        """The guess was none: the person is who they say. With `clear`, what they mistyped before is forgotten too."""
        async with self._database.system() as session:
            guesses = Guesses(session)
            for key, tolerance in attempt.counted:
                if clear and key in attempt.own:
                    await guesses.clear(key)
                else:
                    await guesses.forgive(key, tolerance)

    async def _sweep(self) -> None:
        """Forgets what is long over."""
        async with self._database.system() as session:
            await Guesses(session).sweep(_OVER)
            await Sessions(session).sweep(now() - _SESSIONS_KEPT)


async def _counted(guesses: Guesses, keys: list[tuple[str, Tolerance]]) -> Attempt:
    # asked before any is counted: a guess that waits for one reason must not count for another
    waits = [wait for key, _ in keys if (wait := await guesses.blocked(key))]
    if not waits:
        waits = [wait for key, tolerance in keys if (wait := await guesses.count(key, tolerance))]
    if waits:
        seconds = max(1, round(max(waits).total_seconds()))
        raise TooManyAttempts(
            f"Too many failed attempts. Try again in {seconds} s, on a device on which you signed in before, "
            "or reset the password.",
            retry_after=seconds,
        )
    return Attempt(tuple(keys), own=(keys[0][0],))
