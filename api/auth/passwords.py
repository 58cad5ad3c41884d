"""Passwords: what is asked of a new one, and argon2id hashes made in threads, a few at a time."""

from __future__ import annotations

import asyncio
import os
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from omium_core.errors import InvalidInput, Problem

SHORTEST = 10
LONGEST = 256
_FEWEST_DIFFERENT = 5


class Passwords:
    """Hashes and verifies. Takes as long for an account that does not exist, or has no password."""

    def __init__(self, memory_kib: int, passes: int) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        # each takes a core and its memory: more at once would only make all of them slower
        self._room = asyncio.Semaphore(max(2, os.cpu_count() or 2))
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, _normalised(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password is the one; with no hash, False after the same work."""
        if self._decoy is None:
            self._decoy = await self.hash(secrets.token_urlsafe())
        async with self._room:
            right = await asyncio.to_thread(self._verify, hashed or self._decoy, password)
        return right and hashed is not None

    def is_outdated(self, hashed: str) -> bool:
        """Whether the hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, _normalised(password))
        except (VerificationError, InvalidHashError):
            return False


def check_new_password(password: str, *known: str | None, path: str = "password") -> None:
    """Raises `InvalidInput` for a password that is too short, or that is what everybody `known` of its owner."""
    problem = _problem(password, known)
    if problem:
        raise InvalidInput(f"{path}: {problem}", [Problem(path, problem)])


def _problem(password: str, known: tuple[str | None, ...]) -> str | None:
    folded = _normalised(password).casefold()
    if len(password) < SHORTEST:
        return f"Must have at least {SHORTEST} characters"
    if len(password) > LONGEST:
        return f"Must have at most {LONGEST} characters"
    if len(set(folded)) < _FEWEST_DIFFERENT:
        return f"Must have at least {_FEWEST_DIFFERENT} different characters"
    if any(folded == word.casefold() for word in known if word):
        return "Must not be your address or your name"
    return None


def _normalised(password: str) -> str:
    # the same password typed on another keyboard may arrive as other code points
    return unicodedata.normalize("NFKC", password)
