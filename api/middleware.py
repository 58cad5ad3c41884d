"""What happens to every request before a route sees it: an id, a limit for its body, the caller, a measurement."""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from api.auth.keys import KeyAuthenticator
from api.errors import as_known, envelope
from omium_core.errors import PayloadTooLarge

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PROTECTED = "/api/v1/"
#: Beneath the protected prefix, and open all the same.
OPEN = ("/api/v1/health/", "/api/v1/metrics")

REQUESTS = Counter("omium_http_requests_total", "Requests answered", ["method", "route", "status"])
DURATION = Histogram("omium_http_request_duration_seconds", "Time to answer", ["method", "route"])


class Front:
    """One pure ASGI middleware: each layer of another kind would cost every request a task of its own."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _read_as_json(scope)
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(send, request_id)
        started = time.perf_counter()
        body = _Body(receive, self._max_body_bytes)
        try:
            body.check_announced(headers.get(b"content-length"))
            await self._authenticate(scope)
            await self._app(scope, body.receive, answer.send)
        except Exception as error:
            if answer.started:
                raise
            await envelope(as_known(error, scope["path"]), request_id)(scope, receive, answer.send)
        finally:
            _measure(scope, answer.status, time.perf_counter() - started)

    @staticmethod
    async def _authenticate(scope: Scope) -> None:
        path: str = scope["path"]
        if not path.startswith(PROTECTED) or path.startswith(OPEN) or scope["method"] == "OPTIONS":
            return
        authenticator: KeyAuthenticator = scope["app"].state.authenticator
        scope["state"]["principal"] = await authenticator.authenticate(scope["headers"])


class _Answer:
    """Adds the request's id to the answer and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.status = 500
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [pair for pair in message.get("headers", []) if pair[0] != b"x-request-id"]
            message["headers"] = [*headers, (b"x-request-id", self._request_id)]
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


def _read_as_json(scope: Scope) -> None:
    """Lets a body pass as the JSON that it must be, although `curl -d` calls it a form. Callers are known by a header,
    not by a cookie, so no other site's form can act for them."""
    if scope["method"] not in ("POST", "PUT", "PATCH"):
        return
    form = b"application/x-www-form-urlencoded"
    kept = [pair for pair in scope["headers"] if pair[0] != b"content-type" or not pair[1].startswith(form)]
    if not any(name == b"content-type" for name, _ in kept):
        scope["headers"] = [*kept, (b"content-type", b"application/json")]


def _request_id(given: bytes) -> str:
    """The caller's own id if it is safe to repeat, else a new one."""
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else f"req_{uuid7().hex}"


def _measure(scope: Scope, status: int, seconds: float) -> None:
    route: Any = scope.get("route")
    path = getattr(route, "path", "unmatched")
    REQUESTS.labels(scope["method"], path, status).inc()
    DURATION.labels(scope["method"], path).observe(seconds)
