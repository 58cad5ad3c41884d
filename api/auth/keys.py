"""API keys -> principals, with a short memory so that a busy key is not looked up for every request."""

from __future__ import annotations

from collections.abc import Iterable

from cachetools import TTLCache

from api.auth.permissions import permissions_of
from api.auth.principal import Principal
from models.database import Database
from models.keys import hash_key
from models.repositories.keys import find_owner
from omium_core.errors import NotAuthenticated

#: A revoked key stops working within this many seconds on every API process.
MEMORY_SECONDS = 1.0


class KeyAuthenticator:
    """Finds the principal of a request from its headers."""

    def __init__(self, database: Database, pepper: str) -> None:
        self._database = database
        self._pepper = pepper
        self._known: TTLCache[str, Principal] = TTLCache(maxsize=10_000, ttl=MEMORY_SECONDS)

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """The principal, or `NotAuthenticated`."""
        key = _credential(headers)
        if key is None:
            raise NotAuthenticated("Send an API key: the header X-API-Key, or Authorization: Bearer.")
        digest = hash_key(self._pepper, key)
        known = self._known.get(digest)
        if known is not None:
            return known
        async with self._database.system() as session:
            owner = await find_owner(session, digest)
        if owner is None:
            raise NotAuthenticated("The API key is unknown, expired or revoked.")
        principal = Principal(owner.tenant_id, owner.key_id, owner.user_id, permissions_of(owner.scopes))
        self._known[digest] = principal
        return principal


def _credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    found = {name: value for name, value in headers if name in (b"x-api-key", b"authorization")}
    if b"x-api-key" in found:
        return found[b"x-api-key"].decode("latin-1").strip() or None
    scheme, _, token = found.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
