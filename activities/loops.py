"""An event loop in a thread of its own, for code that may block.

A worker runs the agents on one such loop: an agent that blocks it does not stop the heartbeats of its step, the workflow
tasks of other runs, or the gateway that it is waiting for. It is one loop for all steps, not one per step, because users'
clients are made once per process and keep connections that belong to the loop which opened them.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
import uvloop

T = TypeVar("T")

_THREADS = 64

log = structlog.get_logger(__name__)

#: What asks for the end of the process. asyncio lets it out of the loop, which would end the work of everybody.
_ENDINGS = (SystemExit, KeyboardInterrupt)


class LoopThread:
    """Runs coroutines for other loops. The caller's context goes along."""

    def __init__(self, name: str) -> None:
        self._stopping = False
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.loop = self._started.result()

    def _run(self) -> None:
        # leaving the runner cancels what is left on the loop
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            loop = runner.get_loop()
            # synchronous nodes run in threads: as many as steps may run at once, not as many as there are cores
            loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix=self._thread.name))
            loop.call_soon(self._started.set_result, loop)
            while not self._stopping:
                try:
                    loop.run_forever()
                except _ENDINGS as ending:
                    log.warning("code on a shared loop asked for the end of the process", ending=repr(ending))

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits `work`, which runs on this thread's loop. Cancelling the caller cancels the work.

        `RuntimeError` when the work asks for the end of the process, as `sys.exit()` does.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_contained(work), self.loop))

    def stop(self) -> None:
        """Cancels everything that runs here and ends the thread."""
        if not self._stopping:
            self._stopping = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)


async def _contained(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except _ENDINGS as ending:
        raise RuntimeError(f"The code asked for the end of the process: {ending!r}.") from ending


async def in_own_thread(work: Callable[[], T], *, name: str) -> T:
    """Awaits `work`, which blocks, in a thread of its own with the caller's context variables.

    A daemon thread rather than one of a pool: work that never returns must not keep the process from ending. When the
    waiter is cancelled, the work runs on to its end, unheard.
    """
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(context.run(work))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(future)
