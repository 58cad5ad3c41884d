"""No connection leads to what is private: not by another spelling, not by a redirect, not by a name that changes its mind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from activities.connections.base import RemoteRefused, RemoteUnavailable, Target
from activities.connections.book import Services
from omium_core.settings import Settings
from tests.connections.doubles import TOKEN, Double, Odd

PRIVATE = (
    *("http://169.254.169.254/latest/meta-data", "http://127.0.0.1", "http://localhost", "http://LOCALHOST"),
    *("http://2130706433", "http://0x7f000001", "http://017700000001", "http://0x7f.1", "http://127.1", "http://0"),
    *("http://[::1]", "http://[::ffff:127.0.0.1]", "http://[::ffff:a9fe:a9fe]", "http://[2002:7f00:1::]"),
    *("http://[64:ff9b::7f00:1]", "http://[fd00:ec2::254]", "http://[fe80::1]", "http://[::]", "http://10.0.0.1"),
    *("http://192.168.1.1", "http://100.64.0.1", "http://172.16.0.1", "http://0.0.0.0", "http://168.63.129.16"),
)


def target(url: str) -> Target:
    return Target("c-1", "Tea", "crewai_aop", url, TOKEN, {})


def crew(*allowed: str) -> Any:
    return Services(Settings(http_allow_private=allowed, connection_timeout=3.0)).client("crewai_aop")


@contextmanager
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A port on loopback, and who connected to it."""
    met: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    connection, peer = server.accept()
                except TimeoutError:
                    continue
                met.append(peer)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], met
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("url", PRIVATE)
async def test_private_addresses(url: str) -> None:
    with pytest.raises(RemoteRefused, match="not a public address"):
        await crew().inputs(target(url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://2130706433:{port}", "http://localhost:{port}"])
async def test_a_refused_address_is_not_even_connected_to(url: str) -> None:
    with listener() as (port, met):
        with pytest.raises(RemoteRefused):
            await crew().inputs(target(url.format(port=port)))
        assert met == []


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com", "file:///etc/passwd", "gopher://example.com", "http://user:pw@example.com"),
        *("http:///path", "http://example.com:0", "http://example.com:65536", "http://127.0.0.1%00.example.com"),
        *("http://example.com\\.evil.com", "http://%6cocalhost", f"http://{'a' * 300}.com", "http://[fe80::1%25lo]"),
    ],
)
async def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(RemoteRefused):
        await crew().inputs(target(url))


@pytest.mark.parametrize("where", ["http://127.0.0.2:{port}/inputs", "http://[::1]:{port}/", "//localhost:{port}/x"])
async def test_a_redirect_to_elsewhere_is_not_followed(double: Double, where: str) -> None:
    """127.0.0.1 stands for a public address here; the others stay private."""
    with listener() as (port, met):
        for status in (301, 302, 307, 308):
            location = where.format(port=port)
            double.script["GET /inputs"].append(Odd(status, headers={"location": location}))
            with pytest.raises(RemoteRefused):
                await crew("127.0.0.1").inputs(target(double.url))
        assert met == []


async def test_a_redirect_within_the_service_is_followed(double: Double) -> None:
    double.script["GET /inputs"].append(Odd(307, headers={"location": "/inputs?again=1"}))
    assert (await crew("127.0.0.1").inputs(target(double.url))).names == ("topic", "depth")


async def test_redirects_without_an_end(double: Double) -> None:
    double.script["GET /inputs"] += [Odd(302, headers={"location": "/inputs"})] * 10
    with pytest.raises(RemoteRefused, match="more than 3 times"):
        await crew("127.0.0.1").inputs(target(double.url))


class Resolver:
    """Answers for a name what it is told, one answer after the other; the last one stays."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "rebinding.example":
            return _resolve(host, port, *args, **kwargs)
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return _resolve(answer, port, *args, **kwargs)


_resolve = socket.getaddrinfo


async def test_a_name_that_leads_to_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver("127.0.0.1"))
    with listener() as (port, met):
        with pytest.raises(RemoteRefused, match="not a public address"):
            await crew().inputs(target(f"http://rebinding.example:{port}"))
        assert met == []


async def test_a_name_that_changes_its_mind_between_check_and_use(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public when it is judged, private when it is connected to: no request gets there."""
    resolver = Resolver("93.184.215.14", "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with pytest.raises((RemoteRefused, RemoteUnavailable)):
        await crew().inputs(target(double.url.replace("127.0.0.1", "rebinding.example")))
    assert resolver.asked >= 2
    assert double.asked == []


async def test_each_request_judges_anew(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allowed at first, private later: what was once public is not trusted for ever."""
    monkeypatch.setattr(socket, "getaddrinfo", Resolver("127.0.0.1", "127.0.0.1", "127.0.0.2"))
    client, where = crew("127.0.0.1"), target(double.url.replace("127.0.0.1", "rebinding.example"))
    assert (await client.inputs(where)).names
    with pytest.raises((RemoteRefused, RemoteUnavailable)):
        await client.inputs(where)
    assert len(double.asked) == 1


async def test_the_socket_of_a_studio_is_judged_too(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """REST at an address that is allowed, the WebSocket at another one: the name changed in between."""
    client = Services(Settings(http_allow_private="127.0.0.1", connection_timeout=3.0)).client("autogen_studio")
    assert client is not None
    where = Target(
        "c", "S", "autogen_studio", double.url.replace("127.0.0.1", "rebinding.example"), TOKEN, {"team_id": 7}
    )
    # two look-ups for each of the four requests before it
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(*["127.0.0.1"] * 8, "10.0.0.1"))
    with pytest.raises(RemoteRefused, match="not a public address"):
        await client.kickoff(where, {"task": "Tea?"}, "key-1")
    [run] = double.runs.values()
    assert run["status"] == "created"
