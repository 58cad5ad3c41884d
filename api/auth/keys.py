"""API keys -> principals, with a short memory so that a busy key is not looked up for every request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from cachetools import TTLCache

from api.auth.people import permissions_of as permissions_of_roles
from api.auth.permissions import permissions_of
from api.auth.principal import Principal
from models.database import Database
from models.keys import hash_key
from models.repositories.keys import KeyOwner, find_owner
from omium_core.errors import NotAuthenticated

#: What a look-up found is used for so long after the look-up began: a revoked key stops working within a second.
MEMORY_SECONDS = 0.8
#: A key that is busy is looked up again, beside its requests, when the last look-up is older than this.
REFRESH_SECONDS = 0.4
#: How many keys, and how many guesses, are remembered; guesses do not push keys out.
MEMORY_SIZE = 10_000


@dataclass(frozen=True)
class _Found:
    principal: Principal
    at: float


class KeyAuthenticator:
    """Finds the principal of a request from its headers. Belongs to one event loop."""

    def __init__(self, database: Database, pepper: str, used: Callable[[UUID], None] | None = None) -> None:
        """`used` is told the id of the key of every request."""
        self._database = database
        self._pepper = pepper
        self._used = used
        self._known: TTLCache[str, _Found] = TTLCache(maxsize=MEMORY_SIZE, ttl=MEMORY_SECONDS)
        self._unknown: TTLCache[str, bool] = TTLCache(maxsize=MEMORY_SIZE, ttl=MEMORY_SECONDS)
        self._looking: dict[str, asyncio.Task[Principal | None]] = {}

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """The principal, or `NotAuthenticated`."""
        key = _credential(headers)
        if key is None:
            raise NotAuthenticated("Send an API key: the header X-API-Key, or Authorization: Bearer.")
        principal = await self._find(hash_key(self._pepper, key))
        if principal is None:
            raise NotAuthenticated("The API key is unknown, expired or revoked.")
        if self._used is not None and principal.key_id is not None:
            self._used(principal.key_id)
        return principal

    def forget(self, key_id: UUID) -> None:
        """After a change of a key in this process: its next request looks it up."""
        for digest in [digest for digest, found in self._known.items() if found.principal.key_id == key_id]:
            self._known.pop(digest, None)
            # one that is under way may have read what was there before
            self._looking.pop(digest, None)

    async def _find(self, digest: str) -> Principal | None:
        known, at = self._known.get(digest), time.monotonic()
        if known is None or known.at < at - MEMORY_SECONDS:
            return None if digest in self._unknown else await asyncio.shield(self._look_up(digest))
        if known.at < at - REFRESH_SECONDS:
            self._look_up(digest)
        return known.principal

    def _look_up(self, digest: str) -> asyncio.Task[Principal | None]:
        """One look-up at a time for each key, however many requests wait for it."""
        task = self._looking.get(digest)
        if task is None:
            task = asyncio.create_task(self._read(digest))
            self._looking[digest] = task
            task.add_done_callback(lambda done: self._looked(digest, done))
        return task

    def _looked(self, digest: str, task: asyncio.Task[Principal | None]) -> None:
        if self._looking.get(digest) is task:
            del self._looking[digest]
        if not task.cancelled():
            # whoever waits is told; a refresh that failed leaves the key to be looked up by its next request
            task.exception()

    async def _read(self, digest: str) -> Principal | None:
        began = time.monotonic()
        async with self._database.system() as session:
            owner = await find_owner(session, digest)
        # a key that was changed meanwhile is not remembered as it was
        remembered = self._looking.get(digest) is asyncio.current_task()
        if owner is None:
            if remembered:
                self._known.pop(digest, None)
                self._unknown[digest] = True
            return None
        principal = Principal(
            owner.tenant_id,
            owner.key_id,
            owner.user_id,
            _held(owner),
            tier=owner.tier,
            rate_limits=owner.rate_limits,
        )
        if remembered:
            self._known[digest] = _Found(principal, began)
        return principal


def _held(owner: KeyOwner) -> frozenset[str]:
    """What a key may do: of its scopes what it was narrowed to, and of that what the person who made it holds now."""
    held = permissions_of(owner.scopes)
    if owner.permissions is not None:
        held &= owner.permissions
    return held if owner.roles is None else held & permissions_of_roles(owner.roles)


def _credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    found = {name: value for name, value in headers if name in (b"x-api-key", b"authorization")}
    if b"x-api-key" in found:
        return found[b"x-api-key"].decode("latin-1").strip() or None
    scheme, _, token = found.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
