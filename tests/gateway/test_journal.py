"""No answered call is made again: what the journal answers, and what it does not."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from activities.adapters.base import StaleAttempt
from models.repositories.journal import StepKey
from tests.gateway.support import Scene, chat, chat_request, in_thread, streamed_text, text_of

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", chat_request()),
    ("chat/completions", chat_request(stream=True)),
    ("chat/completions", chat_request(stream=True, stream_options={"include_usage": True})),
    ("responses", {"model": "m", "input": "hello"}),
    ("responses", {"model": "m", "input": "hello", "stream": True}),
    ("embeddings", {"model": "m", "input": ["one", "two"]}),
]


@pytest.mark.parametrize(("endpoint", "request_"), REQUESTS)
def test_second_attempt_gets_the_same_bytes(scene: Scene, endpoint: str, request_: dict[str, Any]) -> None:
    step = scene.new_step()
    answers = []
    for _ in range(2):
        with scene.attempt(step) as session:
            answers.append(httpx.post(f"{scene.gateway.endpoint(session).base_url}/{endpoint}", json=request_))
            assert (session.model_calls, session.tokens > 0) == (1, True)
    first, second = answers
    assert first.status_code == 200
    assert (second.content, second.headers["content-type"]) == (first.content, first.headers["content-type"])
    assert len(scene.model.calls) == 1
    assert [entry.attempt for entry in scene.journal(step)] == [1]


def numbered(scene: Scene, n: int) -> None:
    """Makes the model's answers differ from call to call."""
    scene.model.set_script([{"reply": {"content": f"answer {i}"}, "times": 1} for i in range(n)])


def test_equal_requests_are_calls_of_their_own_and_answered_in_order(scene: Scene) -> None:
    numbered(scene, 5)
    step = scene.new_step()
    with scene.attempt(step) as session:
        client = scene.client(session)
        first = [text_of(chat(client, text)) for text in ("a", "b", "a", "a")]
    assert first == ["answer 0", "answer 1", "answer 2", "answer 3"]
    with scene.attempt(step) as session:
        client = scene.client(session)
        again = [text_of(chat(client, text)) for text in ("a", "a", "a", "b")]
        assert again == ["answer 0", "answer 2", "answer 3", "answer 1"]
        assert len(scene.model.calls) == 4
        # one more than the attempt before had made
        assert text_of(chat(client, "a")) == "answer 4"
    assert [(entry.occurrence, entry.attempt) for entry in scene.journal(step)] == [
        (0, 1), (0, 1), (1, 1), (2, 1), (3, 2)
    ]  # fmt: skip


def test_streams_replay_as_streams(scene: Scene) -> None:
    scene.model.set_script([{"reply": {"content": "one two three"}, "times": 1}])
    step = scene.new_step()
    chunks = []
    for _ in range(2):
        with scene.attempt(step) as session:
            chunks.append(list(chat(scene.client(session), stream=True)))
    assert streamed_text(chunks[1]) == "one two three"
    assert chunks[1] == chunks[0]
    assert len(scene.model.calls) == 1


def test_order_of_keys_does_not_matter_and_content_does(scene: Scene) -> None:
    step = scene.new_step()
    with scene.attempt(step) as session:
        url = f"{scene.gateway.endpoint(session).base_url}/chat/completions"
        httpx.post(url, json=chat_request(temperature=0))
    with scene.attempt(step) as session:
        url = f"{scene.gateway.endpoint(session).base_url}/chat/completions"
        httpx.post(url, json=dict(reversed(chat_request(temperature=0).items())))
        assert len(scene.model.calls) == 1
        httpx.post(url, json=chat_request(temperature=1))
        assert len(scene.model.calls) == 2


def test_other_lineage_other_step_other_execution_are_other_calls(scene: Scene) -> None:
    step = scene.new_step()
    others = [StepKey(step.execution_id, 0, 1), scene.new_step(), StepKey(step.execution_id, 1, 0)]
    for n, key in enumerate([step, *others], start=1):
        scene.rows.move_to_lineage(key.execution_id, key.lineage)
        with scene.attempt(key) as session:
            chat(scene.client(session))
        assert len(scene.model.calls) == n
    assert len(scene.journal(step)) == 3


def test_stale_attempt_is_refused_and_does_not_try_again(scene: Scene) -> None:
    step = scene.new_step()
    decided: list[None] = []
    with scene.attempt(step, on_decided=lambda: decided.append(None)) as old, scene.attempt(step) as new:
        chat(scene.client(new), "known")
        # what is known may be told: it costs nothing and changes nothing
        chat(scene.client(old), "known")
        for _ in range(2):
            with pytest.raises(openai.ConflictError):
                chat(scene.client(old), "new")
        assert isinstance(old.outcome, StaleAttempt)
        assert decided == [None]
        assert new.outcome is None
        assert len(scene.model.calls) == 1
        chat(scene.client(new), "new")
    assert scene.asked() == ["known", "new"]


@pytest.mark.parametrize("stream", [False, True])
def test_answer_under_way_to_a_stale_attempt_is_given_to_the_newer_one(scene: Scene, stream: bool) -> None:
    scene.model.set_script([{"gate": "g", "reply": {"content": "only once"}}])
    step = scene.new_step()
    texts: list[str] = []

    def ask(client: openai.OpenAI) -> None:
        answer = chat(client, stream=stream)
        texts.append(streamed_text(answer) if stream else text_of(answer))

    with scene.attempt(step) as old:
        older = in_thread(lambda: ask(scene.client(old)))
        scene.model.wait_until_held()
        with scene.attempt(step) as new:
            newer = in_thread(lambda: ask(scene.client(new)))
            scene.wait_for_request(new)
            scene.model.release("g")
            for thread in (older, newer):
                thread.join(60)
    assert texts == ["only once"] * 2
    assert len(scene.model.calls) == 1
    assert [entry.attempt for entry in scene.journal(step)] == [1]


def test_attempts_that_race_at_the_fence(scene: Scene) -> None:
    """While old attempts are refused, the newest one asks the same and is answered: nobody gets another's refusal."""
    step = scene.new_step()
    for round_ in range(6):
        with scene.attempt(step) as old, scene.attempt(step) as new:
            refused: list[bool] = []

            def stale(session: Any = old, refused: list[bool] = refused, text: str = f"q{round_}") -> None:
                try:
                    chat(scene.client(session), text)
                except openai.ConflictError:
                    refused.append(True)

            threads = [in_thread(stale) for _ in range(3)]
            assert text_of(chat(scene.client(new), f"q{round_}"))
            for thread in threads:
                thread.join(60)
            assert new.outcome is None
    assert sorted(scene.asked()) == sorted(f"q{n}" for n in range(6))
