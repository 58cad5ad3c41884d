"""What every request meets first: CORS, proxies, headers, methods, and targets that play tricks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from api.app import create_app
from api.middleware import Front
from api.proxies import Proxies
from api.server import server_options
from api.targets import check_target
from omium_core.errors import ConfigurationError, OmiumError
from omium_core.settings import Settings, load_settings
from tests.support.loopback import free_port

PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """An API without a database: what is tested here needs none."""
    settings = Settings(
        database_url=f"postgresql+asyncpg://omium@127.0.0.1:{free_port()}/omium",
        temporal_address=f"127.0.0.1:{free_port()}",
        store_path=tmp_path_factory.mktemp("store"),
        cors_origins=f"{PAGE},http://localhost:3000",
        trusted_proxies="10.0.0.0/8,fd00::/8",
    )
    app = create_app(settings)

    @app.get("/who")
    async def who(request: Request) -> dict[str, Any]:
        origin = request.state.origin
        return {"address": origin.address, "agent": origin.user_agent, "id": origin.request_id, "url": str(request.url)}

    @app.post("/who")
    async def other(request: Request) -> dict[str, Any]:
        return {"sent": len(await request.body())}

    return app


@pytest.fixture
async def app(built: FastAPI) -> AsyncIterator[FastAPI]:
    async with built.router.lifespan_context(built):
        yield built


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield client


async def raw(
    app: FastAPI, path: bytes, *, method: str = "GET", query: bytes = b"", headers: Any = (), peer: str = "192.0.2.1"
) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request as the server would hand it on, with a target that no client library would send."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"api"), *headers],
        "client": (peer, 4711),
        "server": ("api", 80),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


# --- CORS


async def test_page_of_a_named_origin_may_ask(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health/live", headers={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"x-request-id", "retry-after", "x-ratelimit-remaining"} <= set(exposed.split(", "))
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "https://app.example.com.evil.com", f"{PAGE}/"])
async def test_other_pages_get_no_permission(http: httpx.AsyncClient, origin: str) -> None:
    for answer in (
        await http.get("/health/live", headers={"Origin": origin}),
        await http.options("/api/v1/executions", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "origin" in answer.headers["vary"].lower()


async def test_preflight_needs_no_key_and_errors_can_be_read(http: httpx.AsyncClient) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    answer = await http.options("/api/v1/executions", headers=asks)
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()
    refused = await http.get("/api/v1/executions", headers={"Origin": PAGE})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("origins", ["*", "https://*.example.com", "app.example.com", "https://a.example.com/x"])
def test_origins_are_named_in_full(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("OMIUM_CORS_ORIGINS", origins)
    with pytest.raises(ConfigurationError, match="OMIUM_CORS_ORIGINS"):
        load_settings()


# --- who asks


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "203.0.113.7", "192.0.2.1"),  # no proxy of ours: its word counts for nothing
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),  # what stands before it was invented
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("fd00::1", '"[2001:db8::5]:443"', "2001:db8::5"),
        ("fd00::1", "2001:DB8:0::5, fd12::9", "2001:db8::5"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
    ],
)
async def test_address_of_the_sender(app: FastAPI, peer: str, forwarded: str, address: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    _, _, body = await raw(app, b"/who", headers=headers, peer=peer)
    assert f'"address":"{address}"'.encode() in body


async def test_only_a_trusted_proxy_says_that_it_was_https(app: FastAPI) -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    _, told, body = await raw(app, b"/who", headers=headers, peer="10.0.0.1")
    assert b'"url":"https://api/who"' in body
    assert told[b"strict-transport-security"].startswith(b"max-age=")
    _, told, body = await raw(app, b"/who", headers=headers)
    assert b'"url":"http://api/who"' in body
    assert b"strict-transport-security" not in told


@given(st.lists(st.text(alphabet='0123456789abcdef.:[]%, "zx', max_size=40), max_size=5))
def test_no_forwarded_header_breaks_it(values: list[str]) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in values]
    address, scheme = Proxies(["0.0.0.0/0"]).sender({"client": ("10.0.0.1", 1), "scheme": "http"}, headers)
    assert address
    assert scheme == "http"


async def test_origin_has_agent_and_request_id(http: httpx.AsyncClient) -> None:
    answer = await http.get("/who", headers={"User-Agent": "tool/1\x7f " + "x" * 2000, "X-Request-ID": "mine-1"})
    assert answer.json()["agent"].startswith("tool/1 xxx")
    assert len(answer.json()["agent"]) == 512
    assert answer.json()["id"] == answer.headers["x-request-id"] == "mine-1"
    injected = await http.get("/who", headers={"X-Request-ID": "a b\tc"})
    assert re.fullmatch(r"req_[0-9a-f]{32}", injected.headers["x-request-id"])


# --- headers of answers


@pytest.mark.parametrize("path", ["/health/live", "/api/v1/executions", "/nowhere", "/docs", "/openapi.json"])
async def test_every_answer_tells_browsers_what_not_to_do(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers
    assert ("no-store" in headers.get("cache-control", "")) == path.startswith("/api/")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_pages_of_the_description_may_load_what_they_name(http: httpx.AsyncClient, path: str) -> None:
    page = await http.get(path)
    policy = page.headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" in policy
    named = re.findall(r'(?:src|href)="([^"]+\.(?:js|css|png))"', page.text)
    assert named
    for source in named:
        assert source.startswith("/"), "nothing from elsewhere"
        assert (await http.get(source)).status_code == 200


async def test_what_does_not_answer_is_named_and_no_more(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health/ready")
    assert answer.status_code == 503
    # the database's address, and what it said, are for the log
    assert answer.json()["checks"]["database"] == "does not answer"
    assert "127.0.0.1" not in answer.text


# --- methods


async def test_head_is_a_get_without_a_body(http: httpx.AsyncClient) -> None:
    got, head = await http.get("/health/live"), await http.head("/health/live")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (await http.head("/api/v1/executions")).status_code == 401


async def test_options_and_405_name_all_methods(http: httpx.AsyncClient) -> None:
    asked = await http.options("/who")
    assert (asked.status_code, asked.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = await http.delete("/who")
    assert refused.status_code == 405
    assert refused.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await http.options("/nowhere")).status_code == 404
    assert (await http.options("/api/v1/executions")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


# --- what is refused


async def test_too_many_or_too_large_headers(http: httpx.AsyncClient) -> None:
    for headers in ({"x-long": "y" * 40_000}, {f"x-{n}": "y" for n in range(200)}):
        answer = await http.get("/health/live", headers=headers)
        assert answer.status_code == 431
        assert answer.json()["error"]["code"] == "HEADERS_TOO_LARGE"
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "Application/JSON; charset=utf-8", "Content-Encoding": "identity"}, 401),
        ({"Content-Type": "application/merge-patch+json"}, 401),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 401),
        ({"Content-Type": ""}, 401),
        ({}, 401),
    ],
)
async def test_bodies_are_json(http: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    answer = await http.post("/api/v1/executions", content=b"{}", headers=headers)
    assert answer.status_code == status
    assert (answer.json()["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE") == (status == 415)
    assert (await http.post("/api/v1/executions", headers={"Content-Type": "text/plain"})).status_code == 401, "no body"


async def test_sign_in_page_takes_no_flood_of_fields(http: httpx.AsyncClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post("/sign-in", content=b"a=1&" * 1000, headers=form)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MALFORMED_REQUEST")
    assert (await http.post("/sign-in", content=b"next=/temporal/", headers=form)).status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/who%00", 400),
        (b"/who%zz", 400),
        (b"/who%", 400),
        (b"/who%ff", 400),
        (b"/who%0d%0aset-cookie:x", 400),
        (b"/api/v1/../../who", 400),
        (b"/api/v1/%2e%2e/%2E%2e/who", 400),
        (b"/api/v1/..%2f..%2fwho", 400),
        (b"/x\\..\\who", 400),
        (b"/x%5c..%5cwho", 400),
        (b"//who", 404),
        (b"/api//v1/executions", 404),
        (b"/API/V1/executions", 404),
        (b"/api/v1/%65xecutions", 401),
        (b"/api/v1/executions/%41", 401),
        (b"/api/v1/executions%2F%41", 400),
        (b"/%61pi/v1/executions%2f1", 400),
        (b"/who/.well-known", 404),
    ],
)
async def test_paths_that_play_tricks(app: FastAPI, path: bytes, status: int) -> None:
    answered, headers, body = await raw(app, path)
    assert answered == status, body
    assert b'"error"' in body
    assert b"set-cookie" not in headers


async def test_queries_beyond_measure(app: FastAPI) -> None:
    answered, _, body = await raw(app, b"/who", query=b"q=" + b"x" * 9000)
    assert (answered, b"URI_TOO_LONG" in body) == (414, True)
    answered, _, body = await raw(app, b"/who", query=b"q=%00")
    assert (answered, b"MALFORMED_REQUEST" in body) == (400, True)


@given(st.binary(max_size=60).filter(lambda path: b"?" not in path))
def test_no_path_gets_past_the_door_unless_it_is_plain(path: bytes) -> None:
    """Whatever the bytes: either they are refused, or they are what they seem."""
    raw_path = b"/" + path
    try:
        check_target({"raw_path": raw_path, "path": "", "query_string": b""})
    except OmiumError:
        return
    plain = unquote_to_bytes(raw_path)
    assert b".." not in plain.split(b"/")
    assert plain == raw_path or b"\x00" not in plain


def test_it_is_one_layer(app: FastAPI) -> None:
    assert [layer.cls for layer in app.user_middleware] == [Front]


def test_server_believes_no_proxy_by_itself() -> None:
    assert server_options(Settings())["proxy_headers"] is False
