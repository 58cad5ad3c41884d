"""Which step is calling? The answer travels with the context, so that code which makes its own clients need not say it.

The process's OpenAI variables point at the gateway. Requests that go there through httpx (which the OpenAI clients of all
frameworks use) get the token of the current step as a header. A context is carried into new threads and into executors;
asyncio carries it into tasks by itself. What reaches the gateway without a token is refused there.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import httpx

HEADER = "x-omium-step"
PLACEHOLDER_KEY = "omium-gateway"

_current_step: ContextVar[str | None] = ContextVar("omium_current_step", default=None)
_installed_for: set[tuple[str, int]] = set()


@contextmanager
def calling_as(token: str) -> Iterator[None]:
    """Everything called inside the block acts for the step with this token."""
    reset = _current_step.set(token)
    try:
        yield
    finally:
        _current_step.reset(reset)


def install(host: str, port: int) -> None:
    """Points this process's OpenAI clients at the gateway and lets them say for whom they call.

    Once per worker process, before any user's module is imported.
    """
    base_url = f"http://{host}:{port}/v1"
    os.environ.update(
        OPENAI_BASE_URL=base_url,
        OPENAI_API_BASE=base_url,
        OPENAI_API_KEY=os.environ.get("OPENAI_API_KEY") or PLACEHOLDER_KEY,
    )
    # the gateway is on loopback: a proxy must not get between
    for name in ("NO_PROXY", "no_proxy"):
        present = os.environ.get(name, "")
        if host not in present.split(","):
            os.environ[name] = f"{present},{host}" if present else host
    if not _installed_for:
        _carry_context_into_threads()
        _sign_requests()
    _installed_for.add((host, port))


def _sign(request: httpx.Request) -> None:
    token = _current_step.get()
    if token is not None and (request.url.host, request.url.port) in _installed_for:
        request.headers[HEADER] = token


def _sign_requests() -> None:
    plain_send, async_send = httpx.Client.send, httpx.AsyncClient.send

    @functools.wraps(plain_send)
    def send(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        _sign(request)
        return plain_send(self, request, **options)

    @functools.wraps(async_send)
    async def send_async(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        _sign(request)
        return await async_send(self, request, **options)

    httpx.Client.send = send  # type: ignore[method-assign]
    httpx.AsyncClient.send = send_async  # type: ignore[method-assign]


def _carry_context_into_threads() -> None:
    start = threading.Thread.start
    submit: Callable[..., Any] = ThreadPoolExecutor.submit

    @functools.wraps(start)
    def start_with_context(self: threading.Thread) -> None:
        if _current_step.get() is not None:
            self.run = functools.partial(copy_context().run, self.run)  # type: ignore[method-assign]
        start(self)

    @functools.wraps(submit)
    def submit_with_context(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if _current_step.get() is not None:
            return submit(self, copy_context().run, fn, *args, **kwargs)
        return submit(self, fn, *args, **kwargs)

    threading.Thread.start = start_with_context  # type: ignore[method-assign]
    ThreadPoolExecutor.submit = submit_with_context  # type: ignore[method-assign, assignment]
