"""Which step is calling? The answer travels with the context, so that code which makes its own clients need not say it.

The process's OpenAI variables point at the gateway. Requests that go there through httpx (which the OpenAI clients of all
frameworks use) get the token of the current step as a header. The token is carried into new threads and into executors;
asyncio carries it into tasks by itself. What reaches the gateway without a token is refused there.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
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
        _carry_step_into_threads()
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


def _carry_step_into_threads() -> None:
    start = threading.Thread.start
    submit: Callable[..., Any] = ThreadPoolExecutor.submit

    @functools.wraps(start)
    def start_as_caller(self: threading.Thread) -> None:
        token = _current_step.get()
        if token is not None:
            self.run = functools.partial(_call_as, token, self.run)  # type: ignore[method-assign]
        start(self)

    @functools.wraps(submit)
    def submit_as_caller(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # without a step too: the pool's thread may have been started by another step
        return submit(self, _call_as, _current_step.get(), fn, *args, **kwargs)

    threading.Thread.start = start_as_caller  # type: ignore[method-assign]
    ThreadPoolExecutor.submit = submit_as_caller  # type: ignore[method-assign, assignment]


def _call_as(token: str | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    reset = _current_step.set(token)
    try:
        return function(*args, **kwargs)
    finally:
        _current_step.reset(reset)
