"""Credentials of a request -> its principal: an API key, or the access token of a person."""

from __future__ import annotations

from collections.abc import Sequence

from api.auth.keys import KeyAuthenticator
from api.auth.people import PersonAuthenticator
from api.auth.principal import Principal
from omium_core.errors import NotAuthenticated

#: Beneath the protected prefix, and open all the same: what people use who have no credential yet. Exact paths.
OPEN_PATHS = frozenset(
    {
        "/api/v1/.well-known/jwks.json",
        "/api/v1/auth/register",
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/logout",
        "/api/v1/auth/exchange",
        "/api/v1/auth/verify-email",
        "/api/v1/auth/resend-verification",
        "/api/v1/auth/forgot-password",
        "/api/v1/auth/reset-password",
        "/api/v1/auth/accept-invitation",
    }
)
_OPEN_PREFIX = "/api/v1/auth/oauth/"
#: Open to what is sent there alone: it carries a signature. Other methods of such a path are other routes.
OPEN_POSTS = frozenset({"/api/v1/webhooks/stripe"})


def is_open(path: str, method: str = "POST") -> bool:
    """Whether a path is answered without a credential."""
    return path in OPEN_PATHS or path.startswith(_OPEN_PREFIX) or (path in OPEN_POSTS and method == "POST")


class Authenticator:
    """Finds the principal of a request from its headers."""

    def __init__(self, keys: KeyAuthenticator, people: PersonAuthenticator) -> None:
        self._keys = keys
        self._people = people

    async def authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> Principal:
        """The principal, or `NotAuthenticated`. Where both are sent, the API key counts."""
        _check_once(headers)
        token = bearer_token(headers)
        if token is not None:
            return await self._people.authenticate(token)
        return await self._keys.authenticate(headers)


def _check_once(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Two credentials of one kind could be one caller to a proxy and another one here."""
    names = [name for name, _ in headers]
    for credential in (b"x-api-key", b"authorization"):
        if names.count(credential) > 1:
            raise NotAuthenticated(f"The header {credential.decode()} was sent more than once.")


def bearer_token(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The access token that a request carries, if that is its credential; keys have no dots."""
    found = {name: value for name, value in headers if name in (b"x-api-key", b"authorization")}
    if b"x-api-key" in found:
        return None
    scheme, _, token = found.get(b"authorization", b"").decode("latin-1").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and "." in token else None
