"""Bytes that no client library would send, over a socket: what never becomes a request is refused in the envelope too."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from tests.fuzz.world import Server
from tests.support.tenants import add_key, add_tenant

GET = b"GET /api/v1/executions HTTP/1.1\r\nhost: api\r\n"
POST = b"POST /api/v1/executions HTTP/1.1\r\nhost: api\r\nconnection: close\r\n"


def answers_to(server: Server, *parts: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        answered = b""
        while received := connection.recv(65_536):
            answered += received
    return answered


def refused(answered: bytes) -> tuple[int, str]:
    """Status and code of the one answer, which has the headers and the shape of every refusal."""
    head, _, body = answered.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert int(headers["content-length"]) == len(body)
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["request_id"] == headers["x-request-id"]
    return int(lines[0].split()[1]), error["code"]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"get / HTTP/1.1\r\n\r\n"], (400, "MALFORMED_REQUEST")),
        ([b"\x16\x03\x01\x02\x00\x01"], (400, "MALFORMED_REQUEST")),
        ([GET, b"x-api-key: a\x00b\r\n\r\n"], (400, "MALFORMED_REQUEST")),
        ([GET, b"x-request-id: a\r\n set-cookie: b\r\n\r\n"], (400, "MALFORMED_REQUEST")),
        ([GET, b"x-api-key : a\r\n\r\n"], (400, "MALFORMED_REQUEST")),
        ([POST, b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"], (400, "MALFORMED_REQUEST")),
        ([POST, b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} "], (400, "MALFORMED_REQUEST")),
        # as long as the server has not answered, a body that is none is told
        ([POST, b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"], (400, "MALFORMED_REQUEST")),
        ([b"GET /?" + b"q" * 70_000 + b" HTTP/1.1\r\n\r\n"], (414, "URI_TOO_LONG")),
        # heads without end: nobody keeps them
        ([GET, b"x-long: ", *[b"y" * 10_000] * 10], (431, "HEADERS_TOO_LARGE")),
        ([GET, *[b"x: y\r\n" * 2_000] * 10], (431, "HEADERS_TOO_LARGE")),
        # another protocol is not spoken here
        ([GET, b"connection: close, upgrade\r\nupgrade: websocket\r\n\r\n"], (401, "AUTH_INVALID_CREDENTIALS")),
    ],
)
def test_what_is_no_request_is_refused_in_the_envelope(
    server: Server, parts: Sequence[bytes], expected: tuple[int, str]
) -> None:
    assert refused(answers_to(server, *parts)) == expected


def test_what_stands_behind_a_body_is_no_header(server: Server) -> None:
    tenant_id = server.wait(add_tenant(server.database))
    pepper = server.settings.api_key_pepper.get_secret_value()
    key: str = server.wait(add_key(server.database, tenant_id, pepper, "write"))
    credential = f"x-api-key: {key}\r\n".encode()
    chunked, body = b"transfer-encoding: chunked\r\n", b"\r\n2\r\n{}\r\n0\r\n"
    assert refused(answers_to(server, POST + credential + chunked + body + b"\r\n")) == (422, "INVALID_INPUT")
    behind = answers_to(server, POST + chunked + body + credential + b"\r\n")
    assert refused(behind) == (401, "AUTH_INVALID_CREDENTIALS")
