"""What of a request is refused before anybody looks for its route: targets that play tricks, headers beyond measure, bodies
of another kind than JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from omium_core.errors import HeadersTooLarge, MalformedRequest, UnsupportedMediaType, UriTooLong

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def check_headers(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raises `HeadersTooLarge`."""
    if len(headers) > MAX_HEADERS:
        raise HeadersTooLarge(f"The request has more than {MAX_HEADERS} headers.", limit=MAX_HEADERS)
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise headers_too_large()


def check_target(scope: Scope) -> None:
    """Raises `UriTooLong`; `MalformedRequest` for a path that could mean another one to somebody else, and for a NUL."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode(errors="surrogatepass")
    path, query = raw.partition(b"?")[0], scope.get("query_string", b"")
    if len(path) + len(query) > MAX_TARGET_BYTES:
        raise uri_too_long()
    if b"%" in path or b"/." in path or b"\\" in path or b"//" in path:
        _check_path(path)
        if b"%2f" in path.lower() and scope["path"].startswith("/api/"):
            # a gateway that limits or forbids by path would see another one than the API does
            raise MalformedRequest("The path holds an escaped slash.")
    if b"%00" in query or b"\x00" in query:
        raise MalformedRequest("The query holds a NUL character.")


def check_media_type(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """For a request that may have a body. Raises `UnsupportedMediaType` if it has one that is said to be something else than
    JSON as it is."""
    said = dict(headers)
    if said.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in said:
        return
    if said.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise UnsupportedMediaType("The body is compressed: send it as it is, without Content-Encoding.")
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
                raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")


def headers_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"The headers are larger than {MAX_HEADER_BYTES} bytes.", limit_bytes=MAX_HEADER_BYTES)


def uri_too_long() -> UriTooLong:
    return UriTooLong(f"The address is longer than {MAX_TARGET_BYTES} bytes.", limit_bytes=MAX_TARGET_BYTES)


def _check_path(path: bytes) -> None:
    if _BAD_ESCAPE.search(path):
        raise MalformedRequest("The path holds a percent sign that begins no escape: write %25 for the sign itself.")
    plain = unquote_to_bytes(path)
    try:
        plain.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest("The path is not valid UTF-8.") from error
    if _CONTROL.search(plain):
        raise MalformedRequest("The path holds a control character.")
    if b"\\" in plain or any(segment in (b".", b"..") for segment in plain.split(b"/")):
        raise MalformedRequest("The path holds a backslash or a dot segment.")
