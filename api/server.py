"""The server that the API runs on, uvicorn, with what it must not leave to its defaults.

It refuses by itself what never becomes a request: bytes that are no HTTP, a head without end. These refusals have the
envelope of all others.
"""

from __future__ import annotations

from typing import Any

from uuid_utils.compat import uuid7
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import envelope
from api.security_headers import missing_headers
from api.targets import MAX_HEADER_BYTES, MAX_TARGET_BYTES, headers_too_large, uri_too_long
from omium_core.errors import MalformedRequest, OmiumError
from omium_core.settings import Settings

#: What is kept of bytes that are part of no body: a request's first line and headers until they are complete. The
#: application counts more exactly (`api.targets`), and this is beyond what it takes.
MAX_HEAD_BYTES = 2 * (MAX_HEADER_BYTES + MAX_TARGET_BYTES)
#: For so many seconds what a refused sender still says is thrown away: closing at once would take the answer from it.
LINGER_SECONDS = 2.0


class Protocol(HttpToolsProtocol):
    """One connection. The library's own keeps a head of any length, and refuses in plain text."""

    url = b""
    _in_head = False
    _unused_bytes = 0
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unused_bytes += len(data)
        super().data_received(data)
        if self._unused_bytes > MAX_HEAD_BYTES and not self._is_refused:
            self._refuse(self._too_long() or headers_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # what stands behind a body is no header: a proxy in front has not looked at it
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._unused_bytes = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unused_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._too_long() or MalformedRequest("The request is no valid HTTP/1.1."))

    def _unsupported_upgrade_warning(self) -> None:
        """A request to speak another protocol is answered as what it is without that, and is nothing to warn of."""

    def _too_long(self) -> OmiumError | None:
        return uri_too_long() if len(self.url) > MAX_TARGET_BYTES else None

    def _refuse(self, error: OmiumError) -> None:
        self._is_refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                # nothing may be written into an answer that is under way
                self.transport.close()
                return
            # a body that breaks off: whoever works on the request hears that nobody waits for it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = envelope(error, f"req_{uuid7().hex}")
        headers = [*answer.raw_headers, (b"connection", b"close")]
        headers += missing_headers(headers, "/api/", self.scheme or "http")
        lines = [STATUS_LINE[error.status], *(b"%s: %s\r\n" % pair for pair in headers), b"\r\n", bytes(answer.body)]
        self.transport.write(b"".join(lines))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def server_options(settings: Settings) -> dict[str, Any]:
    """How the API is served: arguments of `uvicorn.run` and `uvicorn.Config`."""
    return {
        "host": settings.api_host,
        "port": settings.api_port,
        "http": Protocol,
        # no route speaks it: who asks for it gets an answer in the envelope
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": 10,
        # longer than clients and proxies keep an idle connection: whoever closes first must not be the one that is asked
        "timeout_keep_alive": 75,
        "server_header": False,
        # which proxies are believed is a setting of ours (api/proxies.py); the server would believe any on this machine
        "proxy_headers": False,
    }
