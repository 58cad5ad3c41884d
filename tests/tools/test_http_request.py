"""`http_request` against a real server on loopback: allowed by its address, and refused under every other spelling."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.adapters.base import ToolFailed
from activities.tools.http_request import MAX_BODY_BYTES, HttpTool


@dataclass
class Seen:
    """What reached the server: method, path, headers (lower case), body."""

    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0


class Handler(BaseHTTPRequestHandler):
    seen: Seen

    def setup(self) -> None:
        super().setup()
        self.seen.connections += 1

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.requests.append((self.command, self.path, headers, body))
        path, _, target = self.path.partition("?to=")
        match path:
            case "/redirect":
                self.answer(302, b"", Location=target)
            case "/loop":
                self.answer(307, b"", Location="/loop")
            case "/large":
                self.answer(200, b"x" * (MAX_BODY_BYTES + 1000))
            case "/bomb":
                self.answer(200, gzip.compress(b"0" * 50_000_000), **{"Content-Encoding": "gzip"})
            case "/odd-encoding":
                self.answer(200, b"xx", **{"Content-Encoding": "br"})
            case "/latin":
                self.answer(200, "naïve".encode("latin-1"), **{"Content-Type": "text/plain; charset=latin-1"})
            case "/slow":
                self.rfile.read(1)  # until the client goes
            case "/missing":
                self.answer(404, b"no such thing")
            case _:
                self.answer(200, b'{"ok": true}', **{"Content-Type": "application/json", "Set-Cookie": "secret=1"})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def seen(server: ThreadingHTTPServer) -> Seen:
    Handler.seen = Seen()
    return Handler.seen


@pytest.fixture
def port(server: ThreadingHTTPServer, seen: Seen) -> int:
    return int(server.server_port)


LOOPBACK = HttpTool(["127.0.0.1"])
CLOSED = HttpTool([])


async def test_json_answer(port: int, seen: Seen) -> None:
    answer = await LOOPBACK.http_request(f"http://127.0.0.1:{port}/a?b=1", "key-1", headers={"X-Mine": "1"})
    assert answer["status"] == 200
    assert json.loads(answer["body"]) == {"ok": True}
    assert answer["headers"]["content-type"] == "application/json"
    assert "set-cookie" not in answer["headers"]
    method, path, headers, _ = seen.requests[0]
    assert (method, path, headers["x-mine"]) == ("GET", "/a?b=1", "1")
    assert "idempotency-key" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_changes_something_carries_the_idempotency_key(port: int, seen: Seen, method: Any) -> None:
    await LOOPBACK.http_request(f"http://127.0.0.1:{port}/", "key-1", method=method, json={"a": [1]})
    _, _, headers, body = seen.requests[0]
    assert headers["idempotency-key"] == "key-1"
    assert (headers["content-type"], json.loads(body)) == ("application/json", {"a": [1]})


async def test_text_body_and_own_key(port: int, seen: Seen) -> None:
    own = {"Idempotency-Key": "mine", "Content-Type": "text/csv"}
    await LOOPBACK.http_request(f"http://127.0.0.1:{port}/", "key-1", method="POST", body="a,b", headers=own)
    _, _, headers, body = seen.requests[0]
    assert (headers["idempotency-key"], headers["content-type"], body) == ("mine", "text/csv", b"a,b")


async def test_an_error_status_is_an_answer(port: int) -> None:
    answer = await LOOPBACK.http_request(f"http://127.0.0.1:{port}/missing", "k")
    assert (answer["status"], answer["body"]) == (404, "no such thing")


async def test_sizes_and_encodings(port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    for path in ("/large", "/bomb"):
        answer = await LOOPBACK.http_request(base + path, "k")
        assert len(answer["body"]) == MAX_BODY_BYTES
        assert answer["truncated"] is True
    assert (await LOOPBACK.http_request(base + "/latin", "k"))["body"] == "naïve"
    with pytest.raises(ToolFailed, match="encoding 'br'"):
        await LOOPBACK.http_request(base + "/odd-encoding", "k")


async def test_timeout(port: int) -> None:
    with pytest.raises(ToolFailed, match=r"did not answer within 0\.1 seconds"):
        await LOOPBACK.http_request(f"http://127.0.0.1:{port}/slow", "k", timeout=0.1)


async def test_the_environments_proxy_is_not_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await LOOPBACK.http_request(f"http://127.0.0.1:{port}/", "k"))["status"] == 200


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"),
        *("017700000001", "127.000.000.001", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost."),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
        *("[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[::ffff:0:7f00:1]"),
        *("①②⑦.⓪.⓪.①", "127。0。0。1", "%31%32%37.0.0.1", "127.0.0.1%00.example.com", "[fe80::1%25lo]"),
    ],
)
async def test_every_spelling_of_loopback_is_refused_unconnected(port: int, seen: Seen, host: str) -> None:
    with pytest.raises(ToolFailed):
        await CLOSED.http_request(f"http://{host}:{port}/", "k", timeout=5)
    assert seen.connections == 0


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[fd00:ec2::254]/"]
)
async def test_private_addresses_are_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(ToolFailed, match=r"not a public address.*OMIUM_HTTP_ALLOW_PRIVATE"):
        await CLOSED.http_request(url, "k")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://127.0.0.1/", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://127.0.0.1:6379/_x", "http:// or https://"),
        ("//127.0.0.1/", "http:// or https://"),
        ("127.0.0.1", "http:// or https://"),
        ("", "http:// or https://"),
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        ("http://user:secret@127.0.0.1/", "no user name or password"),
        ("http://8.8.8.8@127.0.0.1/", "no user name or password"),
        ("http://127.0.0.1:99999/", "port"),
        ("http://[::1/", "cannot be built"),
        ("http://127.0.0.1/\n", "cannot be built"),
    ],
)
async def test_addresses_that_are_none(url: str, told: str) -> None:
    with pytest.raises(ToolFailed, match=told):
        await LOOPBACK.http_request(url, "k")


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Proxy-Authorization"])
async def test_headers_of_the_connection_cannot_be_set(port: int, seen: Seen, name: str) -> None:
    with pytest.raises(ToolFailed, match="cannot be set"):
        await LOOPBACK.http_request(f"http://127.0.0.1:{port}/", "k", headers={name: "x"})
    with pytest.raises(ToolFailed):
        await LOOPBACK.http_request(f"http://127.0.0.1:{port}/", "k", headers={"X-A": f"1\r\n{name}: x"})
    assert seen.requests == []


async def test_body_and_json_together_are_refused() -> None:
    with pytest.raises(ToolFailed, match="not both"):
        await LOOPBACK.http_request("http://127.0.0.1/", "k", method="POST", body="a", json=1)


async def test_redirects_are_followed_and_each_is_judged(port: int, seen: Seen) -> None:
    base = f"http://127.0.0.1:{port}"
    assert (await LOOPBACK.http_request(f"{base}/redirect?to=/there", "k"))["status"] == 200
    assert [path for _, path, _, _ in seen.requests] == ["/redirect?to=/there", "/there"]
    for target in ("http://127.0.0.2:80/", "http://0/", "http://[::1]/", "http://169.254.169.254/"):
        with pytest.raises(ToolFailed, match="not a public address"):
            await LOOPBACK.http_request(f"{base}/redirect?to={target}", "k")
    with pytest.raises(ToolFailed, match="no user name or password"):
        await LOOPBACK.http_request(f"{base}/redirect?to=http://a:b@127.0.0.1:{port}/", "k")
    with pytest.raises(ToolFailed):
        await LOOPBACK.http_request(f"{base}/redirect?to=file:///etc/passwd", "k")


async def test_redirects_end(port: int, seen: Seen) -> None:
    with pytest.raises(ToolFailed, match="More than 5 redirects"):
        await LOOPBACK.http_request(f"http://127.0.0.1:{port}/loop", "k")
    assert len(seen.requests) == 6


async def test_a_redirect_takes_no_secret_to_another_origin(port: int, seen: Seen) -> None:
    tool = HttpTool(["127.0.0.1", "localhost"])
    given = {"Authorization": "Bearer x", "X-Api-Key": "x", "Accept": "text/plain"}
    await tool.http_request(f"http://127.0.0.1:{port}/redirect?to=/here", "k", method="POST", headers=given)
    await tool.http_request(f"http://127.0.0.1:{port}/redirect?to=http://localhost:{port}/", "k", headers=given)
    _, (_, _, same, _), _, (_, _, other, _) = seen.requests
    assert (same["x-api-key"], same["authorization"], same["accept"]) == ("x", "Bearer x", "text/plain")
    assert other["accept"] == "text/plain"
    assert not {"x-api-key", "authorization"} & set(other)


async def test_a_name_that_changes_its_mind_is_refused(port: int, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is judged, loopback when the connection is opened."""
    answers = [[("8.8.8.8", port)], [("127.0.0.1", port)]]

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ToolFailed, match="not a public address"):
        await CLOSED.http_request(f"http://rebind.example:{port}/", "k", timeout=5)
    assert seen.requests == []


async def test_one_private_address_among_many_refuses_a_name(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: mixed)
    with pytest.raises(ToolFailed, match=r"mixed\.example \(127\.0\.0\.1\) is not a public address"):
        await CLOSED.http_request("http://mixed.example/", "k")


@given(value=st.integers(0x7F000000, 0x7FFFFFFF), style=st.integers(0, 4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_number_reaches_loopback(port: int, seen: Seen, value: int, style: int) -> None:
    octets = value.to_bytes(4, "big")
    host = [
        str(value),
        hex(value),
        f"0{value:o}",
        ".".join(hex(octet) for octet in octets),
        f"{octets[0]}.{int.from_bytes(octets[1:], 'big')}",
    ][style]
    with pytest.raises(ToolFailed):
        asyncio.run(CLOSED.http_request(f"http://{host}:{port}/", "k", timeout=5))
    assert seen.connections == 0
