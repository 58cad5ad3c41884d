"""Tools behind the journal: called once, with a key by which they know a repetition."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import openai
import pytest

from activities.adapters.base import StaleAttempt, ToolFailed
from activities.gateway.identity import calling_as
from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, chat, in_thread, text_of
from tests.support.loopback import listens, wait_until

done: list[tuple[str, str]] = []
go_on = threading.Event()


def book(seat: str, idempotency_key: str) -> str:
    """Books a seat."""
    done.append((seat, idempotency_key))
    return f"{seat} is booking {len(done)}"


def break_down(reason: str) -> str:
    """Fails."""
    done.append((reason, ""))
    raise ValueError(reason)


def wait_long(seat: str) -> str:
    """Waits until the test lets it go on."""
    done.append((seat, ""))
    go_on.wait(60)
    return "waited"


def ask_model(question: str) -> str:
    """Asks the model with a client of its own."""
    done.append((question, ""))
    return text_of(chat(openai.OpenAI(), question))


@pytest.fixture
def scene(make_scene: MakeScene) -> Iterator[Scene]:
    done.clear()
    go_on.clear()
    with make_scene(tools=[book, break_down, wait_long, ask_model]) as scene:
        yield scene
    go_on.set()


async def test_second_attempt_gets_the_first_answer(scene: Scene) -> None:
    step = scene.new_step()
    answers = []
    for _ in range(2):
        with scene.attempt(step) as session:
            tools = scene.tools(session)
            answers.append([await tools.call("book", {"seat": "1A"}), tools.call_sync("book", {"seat": "1A"})])
            assert session.tool_calls == 2
    assert answers == [["1A is booking 1", "1A is booking 2"]] * 2
    assert len(done) == 2
    assert [(entry.kind, entry.name, entry.occurrence) for entry in scene.journal(step)] == [
        ("tool", "book", 0), ("tool", "book", 1)
    ]  # fmt: skip


def test_key_is_the_same_in_each_attempt_and_another_for_each_call(scene: Scene) -> None:
    """The first attempt books and dies before the journal knows: the next one books again, under the same key."""
    step = scene.new_step()
    with scene.attempt(step) as session:
        for seat in ("1A", "1A", "2B"):
            scene.tools(session).call_sync("book", {"seat": seat})
    scene.rows.forget_journal(step.execution_id)
    with scene.attempt(step) as session:
        for seat in ("2B", "1A", "1A"):
            scene.tools(session).call_sync("book", {"seat": seat})
    first, second = done[:3], done[3:]
    assert sorted(first) == sorted(second)
    assert len({key for _, key in first}) == 3
    with scene.step() as (_, session):
        scene.tools(session).call_sync("book", {"seat": "1A"})
    assert done[-1] not in first


def test_failures_that_are_answers_stay_told(scene: Scene) -> None:
    step = scene.new_step()
    for _ in range(2):
        with scene.attempt(step) as session:
            tools = scene.tools(session)
            assert tools.call_sync("break_down", {"reason": "bad"}, errors_as_answers=True) == "Error: bad"
            told = tools.call_sync("book", {"place": 1}, errors_as_answers=True)
            assert told.startswith("Error: ")
            assert "seat" in told
            unknown = tools.call_sync("nothing", {}, errors_as_answers=True)
            assert unknown.startswith("Error: There is no tool 'nothing'.")
            assert session.outcome is None
    assert len(done) == 1
    assert len(scene.journal(step)) == 3


def test_plain_failures_are_raised_and_not_journaled(scene: Scene) -> None:
    step = scene.new_step()
    for attempt in (1, 2):
        with scene.attempt(step) as session:
            with pytest.raises(ToolFailed, match="bad"):
                scene.tools(session).call_sync("break_down", {"reason": "bad"})
            assert session.outcome is None
        assert len(done) == attempt
    assert scene.journal(step) == []


def test_stale_attempt_may_not_call(scene: Scene) -> None:
    step = scene.new_step()
    with scene.attempt(step) as old, scene.attempt(step):
        for _ in range(2):
            with pytest.raises(StaleAttempt):
                scene.tools(old).call_sync("book", {"seat": "1A"})
        assert isinstance(old.outcome, StaleAttempt)
    assert done == []


async def test_call_after_the_step_ended_is_refused(scene: Scene) -> None:
    with scene.step() as (_, session):
        tools = scene.tools(session)
    with pytest.raises(StaleAttempt):
        await tools.call("book", {"seat": "1A"})
    assert done == []


async def test_cancelled_caller_loses_nothing(scene: Scene) -> None:
    step = scene.new_step()
    with scene.attempt(step) as session:
        tools = scene.tools(session)
        calling = asyncio.create_task(tools.call("wait_long", {"seat": "1A"}))
        await asyncio.to_thread(scene.wait_for_request, session)
        calling.cancel()
        await asyncio.wait([calling])
        again = asyncio.create_task(tools.call("wait_long", {"seat": "1A"}))
        go_on.set()
        assert await again == "waited"
    assert len(done) == 1
    with scene.attempt(step) as session:
        assert await scene.tools(session).call("wait_long", {"seat": "1A"}) == "waited"
    assert len(done) == 1


async def test_stopping_waits_for_a_tool_that_runs(scene: Scene) -> None:
    with scene.step() as (step, session):
        calling = asyncio.create_task(scene.tools(session).call("wait_long", {"seat": "1A"}))
        await asyncio.to_thread(wait_until, lambda: len(done) == 1, seconds=60, what="the tool runs")
        calling.cancel()
        await asyncio.wait([calling])
    stopping = asyncio.create_task(asyncio.to_thread(scene.gateway.stop))
    await asyncio.to_thread(wait_until, lambda: not listens(scene.gateway.port), seconds=60, what="the end begins")
    ended, _ = await asyncio.wait([stopping], timeout=0.5)
    assert not ended
    go_on.set()
    await stopping
    assert len(scene.journal(step)) == 1


def test_tool_that_blocks_holds_up_nobody(scene: Scene) -> None:
    with scene.step() as (_, session):
        tools = scene.tools(session)
        waiting = [in_thread(lambda n=n: tools.call_sync("wait_long", {"seat": str(n)})) for n in range(5)]  # type: ignore[misc]
        scene.wait_for_request(session, 5)
        assert tools.call_sync("book", {"seat": "1A"})
        assert text_of(chat(scene.client(session)))
        go_on.set()
        for thread in waiting:
            thread.join(60)
        assert session.tool_calls == 6


def test_tool_that_asks_the_model_acts_for_its_step(scene: Scene) -> None:
    step = scene.new_step()
    for _ in range(2):
        with scene.attempt(step) as session, calling_as(session.token):
            assert scene.tools(session).call_sync("ask_model", {"question": "why?"}).startswith("Answer")
    assert scene.asked() == ["why?"]
    assert sorted(entry.kind for entry in scene.journal(step)) == ["model", "tool"]
