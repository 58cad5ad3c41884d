"""An event loop in a thread of its own, for code that may block.

A worker runs the agents on one such loop: an agent that blocks it does not stop the heartbeats of its step, the workflow
tasks of other runs, or the gateway that it is waiting for. It is one loop for all steps, not one per step, because users'
clients are made once per process and keep connections that belong to the loop which opened them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other loops. The caller's context goes along."""

    def __init__(self, name: str) -> None:
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.loop = self._started.result()

    def _run(self) -> None:
        async def serve() -> None:
            self._started.set_result(asyncio.get_running_loop())
            await asyncio.get_running_loop().create_future()

        try:
            asyncio.run(serve())
        except asyncio.CancelledError:
            return

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits `work`, which runs on this thread's loop. Cancelling the caller cancels the work."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def stop(self) -> None:
        """Cancels everything that runs here and ends the thread."""

        def cancel_all() -> None:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()

        self.loop.call_soon_threadsafe(cancel_all)
        self._thread.join(timeout=5)
