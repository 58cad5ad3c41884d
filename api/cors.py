"""Which other origins' pages may call the API: those of OMIUM_CORS_ORIGINS, by name, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Pair = tuple[bytes, bytes]

#: What a page may read of an answer beside its body.
EXPOSED = (
    "X-Request-ID",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Location",
    "Idempotent-Replayed",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: What a page may send.
ACCEPTED = ("Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID", "If-None-Match")
_REMEMBERED_SECONDS = 600


class Cors:
    """Answers of the API to browsers that ask on behalf of a page."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._preflight = [
            (b"access-control-allow-methods", ", ".join(METHODS).encode()),
            (b"access-control-allow-headers", ", ".join(ACCEPTED).encode()),
            (b"access-control-max-age", str(_REMEMBERED_SECONDS).encode()),
        ]
        self._exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers

    def allows(self, origin: bytes | None) -> bool:
        return origin is not None and origin in self._origins

    def headers(self, origin: bytes | None, *, preflight: bool = False) -> list[Pair]:
        """What to add to an answer. A page of an origin that is not named gets no permission, and so no answer."""
        if not self._origins:
            return []
        # a cache must not give one origin what was answered to another
        varies = [(b"vary", b"Origin")]
        if origin is None or not self.allows(origin):
            return varies
        allowed = [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"), *varies]
        return [*allowed, *(self._preflight if preflight else [self._exposed])]
