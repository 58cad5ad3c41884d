"""Random tokens that are mailed or kept by a browser, and the keyed hashes under which they are known here."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID


class Secrets:
    """Keyed by the installation's pepper: without it, a copy of the database is of no use to anybody."""

    def __init__(self, pepper: str) -> None:
        self._key = hmac.digest(pepper.encode(), b"omium-sign-in", "sha256")

    def new_token(self) -> str:
        """43 characters that are safe in a link."""
        return secrets.token_urlsafe(32)

    def hash(self, purpose: str, *parts: str) -> str:
        """64 hexadecimal characters."""
        text = "\x00".join((purpose, *parts)).encode(errors="surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def refresh_token(self, session_id: UUID, salt: bytes, generation: int) -> str:
        body = session_id.bytes + generation.to_bytes(4, "big")
        return _encoded(body + self._mark(body, salt))

    def is_refresh_token(self, token: str, session_id: UUID, salt: bytes) -> bool:
        """Whether this installation made the token for the session, now or earlier."""
        raw = _decoded(token)
        body = raw[:_BODY]
        return UUID(bytes=raw[:16]) == session_id and hmac.compare_digest(raw[_BODY:], self._mark(body, salt))

    def device_token(self, account_id: UUID) -> str:
        """What a device keeps on which the account has signed in."""
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self.hash('device', str(account_id), nonce)}"

    def is_device_of(self, account_id: UUID, token: str) -> bool:
        nonce, _, mark = token.partition(".")
        return hmac.compare_digest(mark.encode(errors="replace"), self.hash("device", str(account_id), nonce).encode())

    def _mark(self, body: bytes, salt: bytes) -> bytes:
        return hmac.digest(self._key, b"refresh" + salt + body, "sha256")


_PREFIX = "omr_"
_BODY = 20
_LENGTH = _BODY + 32


def session_of(refresh_token: str) -> tuple[UUID, int] | None:
    """The session and the generation that a refresh token names; None where the text is no such token."""
    raw = _decoded(refresh_token)
    return (UUID(bytes=raw[:16]), int.from_bytes(raw[16:_BODY], "big")) if raw else None


def _encoded(raw: bytes) -> str:
    return _PREFIX + urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    if not token.startswith(_PREFIX) or not token.isascii():
        return b""
    try:
        raw = urlsafe_b64decode(token.removeprefix(_PREFIX) + "==")
    except ValueError:
        return b""
    # the decoder passes over foreign letters and spare bits: a token has one spelling
    return raw if len(raw) == _LENGTH and _encoded(raw) == token else b""
