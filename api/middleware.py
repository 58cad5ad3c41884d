"""What happens to every request before a route sees it: an id, its sender, limits, the caller, a measurement."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from api.audit_trail import trail_of
from api.auth.authenticator import is_open
from api.auth.cookies import session_credential
from api.auth.keys import KeyAuthenticator
from api.auth.principal import Origin, Principal
from api.cors import Cors
from api.errors import as_known, envelope
from api.methods import allowed_methods
from api.proxies import Proxies
from api.security_headers import Pair, missing_headers
from api.targets import check_headers, check_media_type, check_target
from api.wiring import Wiring
from omium_core.errors import NotFound, PayloadTooLarge
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_MAX_USER_AGENT = 512
PROTECTED = "/api/v1/"
#: Beneath the protected prefix, and open all the same.
OPEN = ("/api/v1/health/", "/api/v1/metrics")
#: Beneath the protected prefix, and open to who signed in with a browser: pages ask these without a header of their own.
FOR_BROWSERS = ("/api/v1/temporal/codec/",)

REQUESTS = Counter("omium_http_requests_total", "Requests answered", ["method", "route", "status"])
DURATION = Histogram("omium_http_request_duration_seconds", "Time to answer", ["method", "route"])


class Front:
    """One pure ASGI middleware: each layer of another kind would cost every request a task of its own."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._max_body_bytes = settings.max_body_bytes
        self._proxies = Proxies(settings.trusted_proxies)
        self._cors = Cors(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        asked: str = scope["method"]
        # the server keeps its own scope, by which it knows how to send the answer
        scope = self._as_seen(scope, headers, request_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        preflight = self._cors.is_preflight(asked, headers)
        answer = _Answer(
            send, scope, request_id, self._cors.headers(headers.get(b"origin"), preflight=preflight), asked == "HEAD"
        )
        trail = trail_of(scope, answer.send)
        answer_with = trail.send if trail else answer.send
        started = time.perf_counter()
        body = _Body(receive, self._max_body_bytes)
        try:
            check_headers(scope["headers"])
            check_target(scope)
            if preflight:
                await Response(status_code=204)(scope, receive, answer.send)
            elif asked == "OPTIONS":
                await _tell_methods(scope)(scope, receive, answer.send)
            else:
                body.check_announced(headers.get(b"content-length"))
                if _has_json(scope):
                    check_media_type(scope["headers"])
                await self._authenticate(scope)
                answer.add(await self._limit(scope))
                await self._app(scope, body.receive, answer_with)
        except Exception as error:
            if answer.started:
                raise
            await envelope(as_known(error, scope["path"]), request_id)(scope, receive, answer_with)
        finally:
            if trail:
                trail.end()
            _measure(scope, asked, answer.status, time.perf_counter() - started)

    @staticmethod
    async def _limit(scope: Scope) -> list[Pair]:
        """Counts a request that has a caller; what the answer says about that."""
        principal: Principal | None = scope["state"].get("principal")
        if principal is None:
            return []
        process: Wiring = scope["app"].state.wiring
        return await process.limits.check(principal, scope["path"])

    def _as_seen(self, scope: Scope, headers: dict[bytes, bytes], request_id: str) -> Scope:
        """The request as everything behind this sees it: from its sender, with its origin, and a HEAD as the GET it is."""
        address, scheme = self._proxies.sender(scope, scope["headers"])
        agent = _UNPRINTABLE.sub("", headers.get(b"user-agent", b"").decode("latin-1"))[:_MAX_USER_AGENT]
        state = {
            **scope.get("state", {}),
            "request_id": request_id,
            "origin": Origin(address, agent or None, request_id),
        }
        peer = scope.get("client")
        client = peer if address is None or (peer and peer[0] == address) else (address, 0)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        seen = {**scope, "method": method, "scheme": scheme, "client": client, "state": state}
        _read_as_json(seen)
        return seen

    @staticmethod
    async def _authenticate(scope: Scope) -> None:
        path: str = scope["path"]
        if not path.startswith(PROTECTED) or path.startswith(OPEN) or is_open(path, scope["method"]):
            return
        authenticator: KeyAuthenticator = scope["app"].state.authenticator
        headers = scope["headers"]
        if path.startswith(FOR_BROWSERS):
            headers = session_credential(scope) or headers
        principal = await authenticator.authenticate(headers)
        # the authenticator remembers callers from one request to the next
        scope["state"]["principal"] = replace(principal, origin=scope["state"]["origin"])


class _Answer:
    """Adds what every answer says, and remembers its status."""

    def __init__(self, send: Send, scope: Scope, request_id: str, cors: list[Pair], headers_only: bool) -> None:
        self._send = send
        self._path: str = scope["path"]
        self._scheme: str = scope["scheme"]
        self._added = [(b"x-request-id", request_id.encode()), *cors]
        self._headers_only = headers_only
        self.status = 500
        self.started = False

    def add(self, headers: list[Pair]) -> None:
        self._added += headers

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [pair for pair in message.get("headers", []) if pair[0] != b"x-request-id"]
            message["headers"] = [*headers, *self._added, *missing_headers(headers, self._path, self._scheme)]
        elif self._headers_only and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


class _Body:
    """Counts the bytes of a body while it arrives, so that none is kept that is too large."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0

    def check_announced(self, length: bytes | None) -> None:
        if length is not None and length.isdigit() and int(length) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise self._too_large()
        return message

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The body is larger than {self._limit} bytes.", limit_bytes=self._limit)


def _has_json(scope: Scope) -> bool:
    """Whether a body of this request is JSON, or nothing that is taken."""
    return scope["method"] in ("POST", "PUT", "PATCH") and scope["path"].startswith(PROTECTED)


def _read_as_json(scope: Scope) -> None:
    """Lets a body pass as the JSON that it must be, although `curl -d` calls it a form. Callers of the API are known by a
    header; the few routes that know them by a cookie look where the request comes from."""
    if not _has_json(scope):
        return
    form = b"application/x-www-form-urlencoded"
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name != b"content-type" or (value.strip() and not value.lower().startswith(form))
    ]
    if not any(name == b"content-type" for name, _ in kept):
        scope["headers"] = [*kept, (b"content-type", b"application/json")]


def _tell_methods(scope: Scope) -> Response:
    methods = allowed_methods(scope)
    if not methods:
        raise NotFound("There is nothing here.")
    return Response(status_code=204, headers={"allow": ", ".join(methods)})


def _request_id(given: bytes) -> str:
    """The caller's own id if it is safe to repeat, else a new one."""
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else f"req_{uuid7().hex}"


def _measure(scope: Scope, method: str, status: int, seconds: float) -> None:
    route: Any = scope.get("route")
    path = getattr(route, "path", "unmatched")
    REQUESTS.labels(method, path, status).inc()
    DURATION.labels(method, path).observe(seconds)
