"""What goes wrong at the provider: Temporal tries again, nobody else does, and nothing wrong is journaled."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import openai
import pytest

from activities.adapters.base import ModelUnavailable
from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, chat, in_thread

#: Errors that clients see; of a stream that breaks off they let the transport's own through.
CLIENT_ERRORS = (openai.APIError, httpx.HTTPError)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        {"error": {"status": 429, "retry_after": 7}},
        {"error": {"status": 408}},
        {"error": {"status": 409}},
        {"error": {"status": 500}},
        {"error": {"status": 503}},
        {"disconnect": True},
        {"truncate_after": 2},
    ],
    ids=lambda reply: str(reply.get("error", reply)),
)
def test_absent_model_decides_the_step(scene: Scene, reply: dict[str, Any], stream: bool) -> None:
    if "truncate_after" in reply and not stream:
        reply = {"disconnect": True}
    scene.model.set_script([{"reply": reply}])
    decided: list[None] = []
    step = scene.new_step()
    with scene.attempt(step, on_decided=lambda: decided.append(None)) as session:
        client = scene.client(session)
        for text in ("first", "second", "first"):
            with pytest.raises(CLIENT_ERRORS):
                _ = list(chat(client, text, stream=stream))
        assert isinstance(session.outcome, ModelUnavailable)
        assert scene.model.base_url in str(session.outcome)
        assert session.outcome.retry_after == (7 if reply.get("error", {}).get("retry_after") else None)
        assert decided == [None]
        assert session.model_calls == 0
    assert scene.asked() == ["first"]
    assert scene.journal(step) == []


def test_nobody_listens_at_the_address(make_scene: MakeScene) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        with make_scene(llm_base_url=url) as scene, scene.step() as (_, session):
            with pytest.raises(openai.InternalServerError):
                chat(scene.client(session))
            assert isinstance(session.outcome, ModelUnavailable)
            assert url in str(session.outcome)


@pytest.mark.parametrize("stream", [False, True])
def test_model_that_hangs(make_scene: MakeScene, stream: bool) -> None:
    with make_scene(llm_timeout=0.2) as scene:
        scene.model.set_script([{"reply": {"hang": True}}])
        with scene.step() as (step, session):
            with pytest.raises(openai.InternalServerError, match="ReadTimeout"):
                chat(scene.client(session), stream=stream)
            assert isinstance(session.outcome, ModelUnavailable)
        assert len(scene.model.calls) == 1
        assert scene.journal(step) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
    ],
)
def test_refusal_is_passed_on(scene: Scene, status: int, error: type[openai.APIStatusError], stream: bool) -> None:
    scene.model.set_script([{"reply": {"error": {"status": status, "message": "not like this"}}, "times": 1}])
    with scene.step() as (step, session):
        with pytest.raises(error, match="not like this") as caught:
            chat(scene.client(session), stream=stream)
        assert caught.value.response.json()["error"]["message"] == "not like this"
        assert session.outcome is None
        assert session.rejection is not None
        assert "not like this" in str(session.rejection)
        assert scene.journal(step) == []
        assert len(scene.model.calls) == 1
        # a framework that copes with it goes on
        chat(scene.client(session), "better")
    assert [entry.occurrence for entry in scene.journal(step)] == [0]


def test_calls_beside_the_one_that_failed_are_finished(scene: Scene) -> None:
    scene.model.set_script(
        [{"when": {"last": "slow"}, "gate": "slow"}, {"when": {"last": "bad"}, "reply": {"error": {"status": 500}}}]
    )
    with scene.step() as (step, session):
        client = scene.client(session)
        slow = in_thread(lambda: chat(client, "slow"))
        scene.model.wait_until_held()
        with pytest.raises(openai.InternalServerError):
            chat(client, "bad")
        scene.model.release("slow")
        slow.join(60)
        (entry,) = scene.journal(step)
        assert entry.name == "m"


def test_next_attempt_asks_again(scene: Scene) -> None:
    scene.model.set_script([{"reply": {"error": {"status": 500}}, "times": 1}])
    step = scene.new_step()
    with scene.attempt(step) as session, pytest.raises(openai.InternalServerError):
        chat(scene.client(session))
    with scene.attempt(step) as session:
        chat(scene.client(session))
        assert session.outcome is None
    assert len(scene.model.calls) == 2


def test_journal_that_refuses_an_answer_decides_the_step(scene: Scene) -> None:
    scene.model.set_script([{"gate": "g"}])
    with scene.step() as (step, session):
        client = scene.client(session)
        errors: list[openai.APIStatusError] = []

        def ask() -> None:
            try:
                chat(client)
            except openai.APIStatusError as error:
                errors.append(error)

        asking = in_thread(ask)
        scene.model.wait_until_held()
        scene.rows.delete_execution(step.execution_id)
        scene.model.release("g")
        asking.join(60)
        assert [error.status_code for error in errors] == [503]
        assert session.outcome is not None
        assert "journal" in str(session.outcome)
    assert len(scene.model.calls) == 1
