"""The line between a crew and the worker: the crew works in a thread of its own, its calls are made on the worker's loop.

CrewAI calls models and tools from many threads, and sometimes blocks an event loop for as long as a call takes. On a loop
of its own that harms nobody: the worker goes on with its heartbeats and with other runs. Its calls come over to the worker's loop,
where a cancelled step cancels them at once; after that the line is cut, and whatever still runs in the crew ends with its
next call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from activities.adapters.base import StepError

T = TypeVar("T")


class LineCut(BaseException):
    """Ends what runs in a crew. No `Exception`: the framework would tell an agent about it and go on."""


class Line:
    """The calls of one step. Made on the worker's loop; `call` and `acall` are for the crew's threads."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.Lock()
        self._cut = False
        #: The first failure that no agent may get over: the step fails with it, whatever the framework makes of it.
        self.failure: BaseException | None = None

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine on the worker's loop and waits for it, in a thread."""
        future = self._start(make)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise LineCut from None

    async def acall(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The same for a caller on another loop."""
        future = self._start(make)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if self._cut:
                raise LineCut from None
            raise

    def _start(self, make: Callable[[], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        with self._lock:
            if self._cut:
                raise LineCut
            future = asyncio.run_coroutine_threadsafe(make(), self._loop)
            self._calls.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._calls.discard(future)

    def fail(self, error: BaseException) -> None:
        """Cuts the line because of an error that is the step's."""
        with self._lock:
            self.failure = self.failure or error
        self.cut()

    def cut(self) -> None:
        """Cancels the calls under way and refuses all further ones."""
        with self._lock:
            self._cut = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs the crew's work on an event loop of its own. Raises `failure` where there is one; cancelled, it cuts the line."""
        done: asyncio.Future[T] = self._loop.create_future()
        context = contextvars.copy_context()

        def thread() -> None:
            try:
                answer = context.run(asyncio.run, work())
            except BaseException as error:
                self._tell(done, None, error)
            else:
                self._tell(done, answer, None)

        threading.Thread(target=thread, name="crew", daemon=True).start()
        try:
            answer = await done
        except LineCut:
            if self.failure is None:
                raise
            raise self.failure from None
        except asyncio.CancelledError:
            self.cut()
            raise
        if self.failure is not None:
            raise self.failure
        return answer

    def _tell(self, done: asyncio.Future[T], answer: Any, error: BaseException | None) -> None:
        def settle() -> None:
            if done.done():
                return
            if error is None:
                done.set_result(answer)
            else:
                done.set_exception(_safe(error))

        # Nobody listens any more when the worker has stopped.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)


class CrewGaveUp(StepError):
    """CrewAI wanted to end the process. It does so when a conversation is too long and must not be shortened."""

    retryable = False


def _safe(error: BaseException) -> BaseException:
    """The error as the worker may see it: one that ends or cancels the worker's own task is not for a crew to raise."""
    if isinstance(error, (Exception, LineCut)):
        return error
    return CrewGaveUp(str(error)) if isinstance(error, SystemExit) else StepError(f"The crew was stopped: {error!r}")
