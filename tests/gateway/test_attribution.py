"""Code that makes its own clients: its calls find their step, or they are refused."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import openai
import pytest
from structlog.testing import capture_logs

from activities.gateway.identity import HEADER, PLACEHOLDER_KEY, calling_as
from activities.loops import LoopThread
from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, chat, chat_request, in_thread, text_of


def in_same_thread(client: openai.OpenAI) -> None:
    chat(client)


def in_new_thread(client: openai.OpenAI) -> None:
    in_thread(lambda: chat(client)).join(60)


def in_pool(client: openai.OpenAI) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(chat, client).result(60)


def in_nested_pools(client: openai.OpenAI) -> None:
    with ThreadPoolExecutor() as outer, ThreadPoolExecutor() as inner:
        outer.submit(lambda: list(inner.map(lambda text: chat(client, text), ["hello"]))).result(60)


async def _ask_async() -> None:
    async with openai.AsyncOpenAI() as client:
        await client.chat.completions.create(**chat_request())


def in_loop_of_a_thread(_client: openai.OpenAI) -> None:
    in_thread(lambda: asyncio.run(_ask_async())).join(60)


def in_tasks(_client: openai.OpenAI) -> None:
    async def gather() -> None:
        await asyncio.gather(*[asyncio.create_task(_ask_async())])

    asyncio.run(gather())


def in_executor_of_a_loop(client: openai.OpenAI) -> None:
    async def hop() -> None:
        await asyncio.get_running_loop().run_in_executor(None, chat, client)

    asyncio.run(hop())


def in_coroutine_that_blocks(client: openai.OpenAI) -> None:
    async def block() -> None:
        chat(client)

    asyncio.run(block())


def in_other_loop(_client: openai.OpenAI) -> None:
    other = LoopThread("other")
    try:
        asyncio.run_coroutine_threadsafe(_ask_async(), other.loop).result(60)
    finally:
        other.stop()


def in_loop_thread_of_the_worker(_client: openai.OpenAI) -> None:
    other = LoopThread("agents")
    try:
        asyncio.run(other.run(_ask_async()))
    finally:
        other.stop()


WAYS: list[Callable[[openai.OpenAI], None]] = [
    in_same_thread,
    in_new_thread,
    in_pool,
    in_nested_pools,
    in_loop_of_a_thread,
    in_tasks,
    in_executor_of_a_loop,
    in_coroutine_that_blocks,
    in_other_loop,
    in_loop_thread_of_the_worker,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_clients_own_calls_find_their_step(scene: Scene, way: Callable[[openai.OpenAI], None]) -> None:
    # made before any step runs, as at the import of a user's module
    client = openai.OpenAI()
    with scene.step() as (step, session), calling_as(session.token):
        way(client)
    assert len(scene.journal(step)) == 1
    assert len(scene.model.calls) == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_call_without_a_step_never_leaves(scene: Scene, way: Callable[[openai.OpenAI], None]) -> None:
    # some ways lose the error in their thread
    with capture_logs() as logs, suppress(openai.PermissionDeniedError):
        way(openai.OpenAI())
    assert [line["event"] for line in logs] == ["call refused: it belongs to no running step"]
    assert scene.model.calls == []


def test_refusal_says_what_to_do(scene: Scene) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="while a step runs") as caught:
        chat(openai.OpenAI())
    assert caught.value.code == "call_not_attributed"


def test_call_after_the_step_ended_is_refused(scene: Scene) -> None:
    with scene.step() as (_, session):
        chat(scene.client(session))
    for client in (scene.client(session), openai.OpenAI()):
        with calling_as(session.token), pytest.raises(openai.PermissionDeniedError):
            chat(client)
    assert len(scene.model.calls) == 1


def test_guessed_and_empty_tokens_are_refused(scene: Scene) -> None:
    root = f"http://{scene.gateway.host}:{scene.gateway.port}"
    with scene.step():
        for url in (f"{root}/s/x/v1", f"{root}/s//v1", f"{root}/v1", root):
            for token in ("", "x"):
                answer = httpx.post(f"{url}/chat/completions", json=chat_request(), headers={HEADER: token})
                assert answer.status_code in (403, 404)
                assert httpx.get(f"{url}/models", headers={HEADER: token}).status_code in (403, 404, 405)
    assert scene.model.calls == []


def test_steps_at_the_same_time_do_not_mix(scene: Scene) -> None:
    client = openai.OpenAI()
    steps = [scene.new_step() for _ in range(4)]
    barrier = threading.Barrier(4)

    def run(n: int) -> None:
        with scene.attempt(steps[n]) as session, calling_as(session.token), ThreadPoolExecutor(2) as pool:
            barrier.wait(60)
            list(pool.map(lambda k: chat(client, f"step {n}", seed=k), range(3)))

    threads = [in_thread(lambda n=n: run(n)) for n in range(4)]  # type: ignore[misc]
    for thread in threads:
        thread.join(60)
    assert [len(scene.journal(step)) for step in steps] == [3] * 4
    assert sorted(scene.asked()) == sorted(f"step {n}" for n in range(4) for _ in range(3))


def test_threads_of_a_shared_pool_act_for_whoever_asks_them(scene: Scene) -> None:
    """A pool's threads outlive the step that started them; what they do next is another's, or nobody's."""
    client = openai.OpenAI()
    with ThreadPoolExecutor(1) as pool, scene.step() as (first, one), scene.step() as (second, two):
        with calling_as(one.token):
            pool.submit(chat, client, "of the first").result(60)
        with calling_as(two.token):
            pool.submit(chat, client, "of the second").result(60)
        with pytest.raises(openai.PermissionDeniedError):
            pool.submit(chat, client, "of nobody").result(60)
        assert (one.model_calls, two.model_calls) == (1, 1)
        assert (len(scene.journal(first)), len(scene.journal(second))) == (1, 1)
    assert scene.asked() == ["of the first", "of the second"]


def test_environment_points_at_the_gateway(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("no_proxy", "internal")
    with make_scene() as scene:
        address = f"http://{scene.gateway.host}:{scene.gateway.port}/v1"
        assert os.environ["OPENAI_BASE_URL"] == os.environ["OPENAI_API_BASE"] == address
        assert os.environ["OPENAI_API_KEY"] == PLACEHOLDER_KEY
        assert os.environ["no_proxy"] == "internal,127.0.0.1"


@contextmanager
def stranger() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that is not the gateway; its address, and the headers that it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def test_other_servers_are_not_told_who_calls(scene: Scene) -> None:
    async def ask_async(url: str) -> None:
        async with httpx.AsyncClient() as client:
            await client.get(url)

    with stranger() as (url, seen), scene.step() as (_, session), calling_as(session.token):
        httpx.get(url)
        asyncio.run(ask_async(url))
        assert text_of(chat(openai.OpenAI()))
        assert len(seen) == 2
        assert not [headers for headers in seen if HEADER in headers or session.token in str(headers)]


def test_threads_that_serve_nobody_in_particular_stay_as_they_are(scene: Scene) -> None:
    """Only the step's token travels: a pool's own context variables and initializer keep working."""
    with scene.step() as (_, session), calling_as(session.token):
        results: list[Any] = []
        local = threading.local()
        with ThreadPoolExecutor(1, initializer=lambda: setattr(local, "ready", True)) as pool:
            results.append(pool.submit(lambda: local.ready).result(60))
            failing = pool.submit(lambda: 1 / 0)
        assert results == [True]
        assert isinstance(failing.exception(), ZeroDivisionError)
