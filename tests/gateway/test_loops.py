"""The loop that all agents share: one agent cannot end or hold up what is not its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from activities.loops import LoopThread

where: ContextVar[str] = ContextVar("where", default="nowhere")


@pytest.fixture
def agents() -> Iterator[LoopThread]:
    loop = LoopThread("agents")
    yield loop
    loop.stop()


async def exit_here() -> None:
    sys.exit(3)


async def exit_in_a_task() -> None:
    await asyncio.gather(asyncio.create_task(exit_here()), asyncio.sleep(10))


async def exit_in_a_thread() -> None:
    await asyncio.to_thread(sys.exit, 3)


async def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("agent", [exit_here, exit_in_a_task, exit_in_a_thread, interrupt])
async def test_agent_that_wants_to_end_the_process_fails_alone(
    agents: LoopThread, agent: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    release = asyncio.Event()

    async def other() -> str:
        await release.wait()
        return "done"

    beside = asyncio.create_task(agents.run(other()))
    with pytest.raises(RuntimeError, match="end of the process"):
        await agents.run(agent())
    agents.loop.call_soon_threadsafe(release.set)
    assert await beside == "done"


async def test_context_goes_along_and_result_comes_back(agents: LoopThread) -> None:
    async def look() -> tuple[str, str]:
        return where.get(), threading.current_thread().name

    where.set("here")
    assert await agents.run(look()) == ("here", "agents")


async def test_cancelling_the_caller_cancels_the_work(agents: LoopThread) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(agents.run(wait()))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await asyncio.to_thread(ended.wait, 10)


async def test_stopping_cancels_what_runs(agents: LoopThread) -> None:
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    caller = asyncio.create_task(agents.run(wait()))
    await asyncio.to_thread(begun.wait, 10)
    await asyncio.to_thread(agents.stop)
    with pytest.raises(asyncio.CancelledError):
        await caller
    agents.stop()
