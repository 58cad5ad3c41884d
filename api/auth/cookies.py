"""Who signed in with a browser: a cookie that holds the credential, sealed, for the Temporal Web UI and what it asks.

Nothing is kept on the server: each request opens the cookie and authenticates what is in it, so a key that was revoked ends
the session within the second that keys are remembered. Everything else in the API takes no cookie.
"""

from __future__ import annotations

import base64
import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.types import Scope

from omium_core.errors import NotPermitted
from omium_core.settings import Settings

Headers = list[tuple[bytes, bytes]]

_NAME = "omium_session"
#: Browsers take a cookie of this name only over https, from the host itself, for all of its paths.
_SECURE_NAME = f"__Host-{_NAME}"
_SAFE = ("GET", "HEAD", "OPTIONS")
_FROM_HERE = ("same-origin", "none")


class SessionCookies:
    """Makes the cookies of sessions, and reads them."""

    def __init__(self, settings: Settings) -> None:
        pepper = settings.api_key_pepper.get_secret_value().encode()
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"omium-browser-session").derive(pepper)
        self._fernet = Fernet(base64.urlsafe_b64encode(key))
        self._seconds = settings.ui_session_seconds

    def issue(self, header: str, value: str, scheme: str) -> str:
        """The Set-Cookie of a session whose requests count as if they sent this header."""
        sealed = self._fernet.encrypt(json.dumps([header, value]).encode()).decode()
        return f"{self._attributes(sealed, scheme)}; Max-Age={self._seconds}"

    def clear(self, scheme: str) -> str:
        """The Set-Cookie that ends a session."""
        return f"{self._attributes('', scheme)}; Max-Age=0"

    def read(self, scope: Scope) -> Headers | None:
        """The header that stands for the session; None without one, when it is over, and when it was changed."""
        name = _name(scope["scheme"])
        given = "; ".join(value.decode("latin-1") for header, value in scope["headers"] if header == b"cookie")
        try:
            sealed = SimpleCookie(given).get(name)
            if sealed is None:
                return None
            header, value = json.loads(self._fernet.decrypt(sealed.value.encode(), ttl=self._seconds))
        except (CookieError, InvalidToken, ValueError, TypeError):
            return None
        return [(header.encode(), value.encode("latin-1"))]

    @staticmethod
    def _attributes(value: str, scheme: str) -> str:
        secure = "; Secure" if scheme == "https" else ""
        return f"{_name(scheme)}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _name(scheme: str) -> str:
    return _SECURE_NAME if scheme == "https" else _NAME


def session_credential(scope: Scope) -> Headers | None:
    """The header that stands for the caller's session, where the request has none of its own.

    Raises `NotPermitted` for a request with a cookie that another site's page has sent.
    """
    if any(name in (b"x-api-key", b"authorization") for name, _ in scope["headers"]):
        return None
    cookies: SessionCookies = scope["app"].state.sessions
    credential = cookies.read(scope)
    if credential is not None:
        check_same_origin(scope)
    return credential


def check_same_origin(scope: Scope) -> None:
    """Raises `NotPermitted` for a request that changes something and comes from a page of another origin.

    A cookie goes along with whatever a page of the same site sends, and all ports of a host are one site.
    """
    if scope["method"] in _SAFE:
        return
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    # the browser's own word; one that does not give it yet says where the page came from
    if site is not None:
        allowed = site in _FROM_HERE
    else:
        allowed = origin is None or urlsplit(origin).netloc == headers.get(b"host")
    if not allowed:
        raise NotPermitted("This was sent by a page of another origin.")
