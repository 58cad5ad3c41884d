"""Headers by which an answer tells browsers what not to do with it."""

from __future__ import annotations

Pair = tuple[bytes, bytes]

_ALWAYS: list[Pair] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_HSTS: Pair = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
#: For data: a browser that is talked into showing it as a page runs nothing of it.
_DATA = b"default-src 'none'; frame-ancestors 'none'"
#: The pages of the API's description: their scripts lie beside them, one line of script and of style is in the page itself.
_DOCS = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
_DOCS_PATHS = ("/docs", "/redoc")


def missing_headers(headers: list[Pair], path: str, scheme: str) -> list[Pair]:
    """What an answer has yet to say; what its route has said itself stays."""
    said = {name for name, _ in headers}
    policy = _DOCS if path in _DOCS_PATHS or path.startswith("/docs/") else _DATA
    wanted = [*_ALWAYS, (b"content-security-policy", policy)]
    if path.startswith("/api/"):
        wanted.append((b"cache-control", b"no-store"))
    if scheme == "https":
        wanted.append(_HSTS)
    return [pair for pair in wanted if pair[0] not in said]
