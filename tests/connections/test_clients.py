"""The clients of the services: what they send, what they make of answers, and what they say when it goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from activities.connections.base import RemoteRefused, RemoteUnavailable, Target, Tokens
from activities.connections.book import Services
from omium_core.settings import Settings
from tests.connections.doubles import TOKEN, Double, Odd
from tests.support.loopback import free_port

T = TypeVar("T")
KINDS = ("crewai_aop", "langgraph_cloud", "autogen_studio")
OPTIONS: dict[str, dict[str, Any]] = {"autogen_studio": {"team_id": 7}}
MESSAGES = {
    "messages": [
        {"type": "human", "content": "hello"},
        {"type": "ai", "content": "Tea.", "usage_metadata": {"input_tokens": 5, "output_tokens": 2}},
    ]
}
TEAM_RESULT = {
    "task_result": {
        "messages": [
            {"source": "user", "content": "hello", "models_usage": None},
            {"source": "a", "content": "Tea.", "models_usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        ],
        "stop_reason": "done",
    },
    "usage": "",
    "duration": 1.0,
}
DONE: dict[str, dict[str, Any]] = {
    "crewai_aop": {"status": "SUCCESS", "result": "Tea.", "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
    "langgraph_cloud": MESSAGES,
    "autogen_studio": TEAM_RESULT,
}


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    services = Services(Settings(http_allow_private="127.0.0.1", connection_timeout=2.0))
    yield services
    await services.close()


async def until(ask: Callable[[], Awaitable[T]], is_it: Callable[[T], bool]) -> T:
    """The first answer that is as wanted."""
    for _ in range(500):
        answer = await ask()
        if is_it(answer):
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError(answer)


def target(kind: str, url: str, token: str = TOKEN, **options: Any) -> Target:
    return Target("c-1", "Tea", kind, url, token, {**OPTIONS.get(kind, {}), **options})


@pytest.mark.parametrize("kind", KINDS)
async def test_from_kickoff_to_result(services: Services, double: Double, kind: str) -> None:
    client = services.client(kind)
    assert client is not None
    where = target(kind, double.url)
    assert "answers" in await client.check(where)
    assert (await client.inputs(where)).names
    double.at_once = DONE[kind]
    kickoff = await client.kickoff(where, {"topic": "tea", "task": "Tea?"}, "key-1")
    run = await until(lambda: client.status(where, kickoff.id), lambda run: run.phase != "running")
    assert (run.phase, run.text, run.tokens) == ("succeeded", "Tea.", Tokens(5, 2))


@pytest.mark.parametrize("kind", ["langgraph_cloud", "autogen_studio"])
async def test_what_was_started_is_found_again_by_its_key(services: Services, double: Double, kind: str) -> None:
    client = services.client(kind)
    assert client is not None
    where = target(kind, double.url)
    assert client.can_find
    assert await client.find(where, "key-1") is None
    kickoff = await client.kickoff(where, {"task": "Tea?"}, "key-1")
    found = await until(lambda: client.find(where, "key-1"), lambda found: found is not None)
    assert found == replace(kickoff, status=found.status if found else "")
    assert await client.find(where, "key-2") is None


@pytest.mark.parametrize("kind", ["langgraph_cloud", "autogen_studio"])
async def test_cancelling(services: Services, double: Double, kind: str) -> None:
    client = services.client(kind)
    assert client is not None
    where = target(kind, double.url)
    kickoff = await client.kickoff(where, {"task": "Tea?"}, "key-1")
    await until(lambda: client.status(where, kickoff.id), lambda run: run.word != "created")
    assert await client.cancel(where, kickoff.id)
    run = await until(lambda: client.status(where, kickoff.id), lambda run: run.phase != "running")
    assert run.phase == "cancelled"


async def test_a_run_of_a_studio_ends_with_the_process_that_started_it(services: Services, double: Double) -> None:
    client = services.client("autogen_studio")
    assert client is not None
    where = target("autogen_studio", double.url)
    kickoff = await client.kickoff(where, {"task": "Tea?"}, "key-1")
    await until(lambda: client.status(where, kickoff.id), lambda run: run.word == "active")
    await services.close()
    await until(lambda: client.status(where, kickoff.id), lambda run: run.word == "stopped")


async def test_what_a_crew_is_sent(services: Services, double: Double) -> None:
    client = services.client("crewai_aop")
    assert client is not None
    await client.kickoff(target("crewai_aop", f"{double.url}/", meta={"team": "blue"}), {"topic": "tea"}, "key-1")
    [asked] = double.requests("POST", "/kickoff")
    assert asked.body == {
        "inputs": {"topic": "tea"},
        "meta": {"requestId": "key-1", "source": "omium", "team": "blue"},
    }
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["idempotency-key"] == "key-1"


@pytest.mark.parametrize("path", ["/kickoff", "/inputs"])
@pytest.mark.parametrize(
    ("odd", "arrived", "retry_after"),
    [
        (Odd(429, b'{"error":"slow down"}', {"retry-after": "7"}), False, 7.0),
        (Odd(503), False, None),
        (Odd(500, b'{"error":"boom"}'), True, None),
        (Odd(502, b"<html>bad gateway</html>"), True, None),
        (Odd(200, b"<html>hello</html>"), True, None),
        (Odd(200, b'{"kickoff_id": "cut'), True, None),
        (Odd(200, b"[" * 5000 + b"]" * 5000), True, None),
        (Odd(500, b"x" * 9_000_000), True, None),
        (Odd(sleep=3.0), True, None),
        (Odd(breaks_off=True), True, None),
    ],
    ids=["429", "503", "500", "502", "html", "cut", "deep", "huge-error", "slow", "breaks-off"],
)
async def test_a_service_in_trouble(
    services: Services, double: Double, path: str, odd: Odd, arrived: bool, retry_after: float | None
) -> None:
    client = services.client("crewai_aop")
    assert client is not None
    where = target("crewai_aop", double.url)
    double.script[f"POST {path}"].append(odd)
    double.script[f"GET {path}"].append(odd)
    asking = client.kickoff(where, {}, "key-1") if path == "/kickoff" else client.inputs(where)
    with pytest.raises(RemoteUnavailable) as raised:
        await asking
    assert (raised.value.arrived, raised.value.retry_after) == (arrived, retry_after)
    assert raised.value.status == (None if odd.sleep or odd.breaks_off else odd.status)
    assert TOKEN not in raised.value.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_token_is_told_without_it(services: Services, double: Double, kind: str) -> None:
    client = services.client(kind)
    assert client is not None
    where = target(kind, double.url, token="canary-of-a-wrong-token")
    with pytest.raises(RemoteRefused) as raised:
        await client.check(where)
    assert raised.value.status == 401
    assert "canary" not in raised.value.message
    assert "is not valid" in raised.value.message
    assert "canary" not in repr(where)


async def test_a_run_that_nobody_knows(services: Services, double: Double) -> None:
    for kind, kickoff_id in (("crewai_aop", "nothing"), ("langgraph_cloud", "a:b"), ("autogen_studio", "99")):
        client = services.client(kind)
        assert client is not None
        with pytest.raises(RemoteRefused) as raised:
            await client.status(target(kind, double.url), kickoff_id)
        assert raised.value.status == 404


async def test_ids_stay_in_their_place(services: Services, double: Double) -> None:
    """An id that comes from a user must not reach another path of the service, with the token."""
    for kind, ids in (("crewai_aop", ("../inputs?x=1#y", "..")), ("langgraph_cloud", ("..:..", "a:.", ".:b"))):
        client = services.client(kind)
        assert client is not None
        for kickoff_id in ids:
            with pytest.raises(RemoteRefused):
                await client.status(target(kind, double.url), kickoff_id)
    assert double.asked == []


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"inputs": {"a": 1}}', ("a",)),
        (b'[{"name": "a"}, "b", null, 3]', ("a", "b", "3")),
        (b'"topic"', ("topic",)),
        (b"7", ("7",)),
        (b"null", ()),
        (b"", ()),
        (b'{"inputs": ["a\\ud800"]}', ("a?",)),
    ],
)
async def test_inputs_as_crews_tell_them(services: Services, double: Double, body: bytes, names: tuple[str]) -> None:
    client = services.client("crewai_aop")
    assert client is not None
    double.script["GET /inputs"].append(Odd(body=body))
    assert (await client.inputs(target("crewai_aop", double.url))).names == names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"null", b"7", b"{}", b'{"data": {"status": null}}', b'["a", "b"]'])
async def test_an_answer_without_a_status_is_none(services: Services, double: Double, kind: str, body: bytes) -> None:
    """Nobody may wait for ever for a run of which nothing is told."""
    client = services.client(kind)
    assert client is not None
    for path in ("/status/1", "/threads/*/runs/1", "/api/runs/1"):
        double.script[f"GET {path}"].append(Odd(body=body))
    with pytest.raises(RemoteUnavailable):
        await client.status(target(kind, double.url), "1:1" if kind == "langgraph_cloud" else "1")


async def test_lists_of_odd_things_hold_nothing_of_ours(services: Services, double: Double) -> None:
    for kind, path, body in (
        ("langgraph_cloud", "/threads/*/runs", b'[{"metadata": [1]}, 5, {"metadata": "x", "run_id": "r"}]'),
        ("autogen_studio", "/api/sessions/", b'{"data": [5, null, {"name": 7}]}'),
    ):
        client = services.client(kind)
        assert client is not None
        double.script[f"GET {path}"].append(Odd(body=body))
        assert await client.find(target(kind, double.url), "key-1") is None


async def test_answers_are_bounded(services: Services, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.connections.http.LONGEST_ANSWER", 1000)
    client = services.client("crewai_aop")
    assert client is not None
    double.script["GET /inputs"].append(Odd(body=b'{"inputs": ["' + b"x" * 2000 + b'"]}'))
    with pytest.raises(RemoteRefused, match="more than 1000 bytes"):
        await client.inputs(target("crewai_aop", double.url))


@pytest.mark.parametrize(
    "odd",
    [
        Odd(body=b'{"x": "' + b"x" * 9_000_000 + b'"}'),
        Odd(headers={"content-encoding": "gzip"}),
        Odd(303, headers={"location": "/status/1"}),
    ],
    ids=["huge", "compressed", "see-other"],
)
async def test_a_kickoff_whose_answer_is_not_read_was_taken(services: Services, double: Double, odd: Odd) -> None:
    client = services.client("crewai_aop")
    assert client is not None
    double.script["POST /kickoff"].append(odd)
    with pytest.raises(RemoteRefused) as raised:
        await client.kickoff(target("crewai_aop", double.url), {}, "key-1")
    assert raised.value.arrived


async def test_nobody_there(services: Services) -> None:
    client = services.client("crewai_aop")
    assert client is not None
    with pytest.raises(RemoteUnavailable) as raised:
        await client.kickoff(target("crewai_aop", f"http://127.0.0.1:{free_port()}"), {}, "key-1")
    assert not raised.value.arrived


async def test_a_graph_that_asks_a_person_has_no_result(services: Services, double: Double) -> None:
    client = services.client("langgraph_cloud")
    assert client is not None
    where = target("langgraph_cloud", double.url)
    double.at_once = MESSAGES
    kickoff = await client.kickoff(where, {}, "key-1")
    next(iter(double.threads.values()))["next"] = ["review"]
    run = await client.status(where, kickoff.id)
    assert (run.phase, run.error.split()[-1]) == ("failed", "deployment.")
