"""A client that goes away in the middle: what is paid for is finished, journaled, and not paid for twice."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest

from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, chat, chat_request, in_thread, streamed_text, text_of
from tests.support.loopback import wait_until

# with what it asks it is patient: the request has to arrive
IMPATIENT = httpx.Timeout(60, read=0.2)


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelled_task(scene: Scene, stream: bool) -> None:
    scene.model.set_script([{"gate": "g", "reply": {"content": "paid for"}}])
    step = scene.new_step()
    with scene.attempt(step) as session:
        async with scene.async_client(session) as client:
            asking = asyncio.create_task(client.chat.completions.create(**chat_request(stream=stream)))
            await asyncio.to_thread(scene.model.wait_until_held)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        scene.model.release("g")
        await asyncio.to_thread(scene.wait_for_journal, step)
    with scene.attempt(step) as session:
        answer = chat(scene.client(session), stream=stream)
        assert (streamed_text(answer) if stream else text_of(answer)) == "paid for"
    assert len(scene.model.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_cut_connection(scene: Scene, stream: bool) -> None:
    """The connection is reset, once before the answer begins and once in the middle of it."""
    reply = {"content": "one two three four five", "chunk_delay": 0.05 if stream else 0}
    scene.model.set_script([{"gate": None if stream else "g", "reply": reply}])
    step = scene.new_step()
    with scene.attempt(step) as session:
        with socket.create_connection((scene.gateway.host, scene.gateway.port)) as raw:
            body = b'{"model":"m","messages":[{"role":"user","content":"hello"}]' + (
                b',"stream":true}' if stream else b"}"
            )
            head = f"POST /s/{session.token}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.sendall(head.encode() + body)
            if stream:
                assert b"200" in raw.recv(100)
            else:
                scene.model.wait_until_held()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        scene.model.release("g")
        scene.wait_for_journal(step)
    with scene.attempt(step) as session:
        options: dict[str, Any] = {"stream": True} if stream else {}
        answer = chat(scene.client(session), **options)
        assert (streamed_text(answer) if stream else text_of(answer)) == "one two three four five"
    assert len(scene.model.calls) == 1


def test_stream_that_is_left_early(scene: Scene) -> None:
    scene.model.set_script([{"reply": {"content": "one two three four", "chunk_delay": 0.05}}])
    step = scene.new_step()
    with scene.attempt(step) as session:
        with scene.client(session) as client:
            stream = chat(client, stream=True)
            next(iter(stream))
            stream.close()
        (entry,) = scene.wait_for_journal(step)
        assert entry.output_tokens > 0
    assert [call.state for call in scene.model.calls] == ["finished"]


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_loses_patience_and_asks_again_pays_once(scene: Scene, stream: bool) -> None:
    """The clients try again after a timeout of their own; that is the same call."""
    scene.model.set_script([{"gate": "g", "times": 1, "reply": {"content": "late"}}])
    with scene.step() as (step, session):
        requests: list[httpx.Request] = []
        noting = httpx.Client(event_hooks={"request": [requests.append]})
        client = scene.client(session, timeout=IMPATIENT, max_retries=20, http_client=noting)
        texts: list[str] = []

        def ask() -> None:
            answer = chat(client, stream=stream)
            texts.append(streamed_text(answer) if stream else text_of(answer))

        asking = in_thread(ask)
        scene.model.wait_until_held()
        wait_until(lambda: len(requests) > 1, seconds=60, what="the client asks again")
        scene.model.release("g")
        asking.join(60)
        assert texts == ["late"]
        assert (len(scene.model.calls), session.model_calls) == (1, 1)
        # the next equal request is a new wish
        ask()
        assert (len(scene.model.calls), session.model_calls) == (2, 2)
    assert [entry.occurrence for entry in scene.journal(step)] == [0, 1]


def test_answers_that_arrived_are_not_given_twice(scene: Scene) -> None:
    """Connections that end after their answer give nothing back."""
    scene.model.set_script([{"reply": {"content": f"answer {n}"}, "times": 1} for n in range(6)])
    with scene.step() as (_, session):
        texts = []
        for n in range(6):
            with scene.client(session) as client:
                answer = chat(client, stream=n % 2 == 1)
                texts.append(streamed_text(answer) if n % 2 else text_of(answer))
    assert sorted(texts) == [f"answer {n}" for n in range(6)]


def test_failure_is_noted_though_the_client_has_gone(scene: Scene) -> None:
    scene.model.set_script([{"gate": "g", "reply": {"error": {"status": 500}}}])
    with scene.step() as (_, session):
        with pytest.raises(openai.APITimeoutError):
            chat(scene.client(session, timeout=IMPATIENT, max_retries=0))
        scene.model.wait_until_held()
        scene.model.release("g")
        scene.wait_for_outcome(session)


def test_call_outlives_its_step(scene: Scene) -> None:
    scene.model.set_script([{"gate": "g"}])
    with scene.step() as (step, session):
        with pytest.raises(openai.APITimeoutError):
            chat(scene.client(session, timeout=IMPATIENT, max_retries=0))
        scene.model.wait_until_held()
    scene.model.release("g")
    assert len(scene.wait_for_journal(step)) == 1


def test_stopping_waits_for_what_is_paid_for(make_scene: MakeScene) -> None:
    with make_scene() as scene:
        scene.model.set_script([{"reply": {"delay": 1.0}}])
        with scene.step() as (step, session), pytest.raises(openai.APITimeoutError):
            chat(scene.client(session, timeout=IMPATIENT, max_retries=0))
        scene.model.wait_for_calls(1)
        scene.gateway.stop()
        assert len(scene.journal(step)) == 1


def test_stopping_gives_those_who_wait_their_answers(make_scene: MakeScene) -> None:
    with make_scene() as scene:
        scene.model.set_script([{"reply": {"content": "just in time", "delay": 0.5}}])
        with scene.step() as (_, session):
            texts: list[str] = []
            asking = in_thread(lambda: texts.append(text_of(chat(scene.client(session)))))
            scene.model.wait_for_calls(1)
            scene.gateway.stop()
            asking.join(60)
        assert texts == ["just in time"]
