"""Providers differ: what comes back need not look as the documents say."""

from __future__ import annotations

import gzip
import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import openai
import pytest

from activities.adapters.base import ModelUnavailable
from activities.gateway import upstream
from tests.gateway.conftest import MakeScene
from tests.gateway.support import chat, chat_request, completion, odd_provider, streamed_text, text_of


def event(**fields: Any) -> str:
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n"


def delta(text: str | None, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


def test_compressed_answer(make_scene: MakeScene) -> None:
    body = gzip.compress(completion(model="m"))
    with odd_provider(body, headers={"content-encoding": "gzip"}) as (url, _), make_scene(llm_base_url=url) as scene:
        step = scene.new_step()
        for _ in range(2):
            with scene.attempt(step) as session:
                assert text_of(chat(scene.client(session))) == "fine"
        assert len(scene.journal(step)) == 1


def test_what_the_database_cannot_hold_is_no_reason_to_lose_an_answer(make_scene: MakeScene) -> None:
    body = completion(model="m\x00\ud83d" + "x" * 300, usage={"prompt_tokens": "many", "completion_tokens": 1e300})
    with odd_provider(body) as (url, got), make_scene(llm_base_url=url) as scene, scene.step() as (step, session):
        base = scene.gateway.endpoint(session).base_url
        request = b'{"model": "m", "messages": [{"role": "user", "content": "\\ud83d"}]}'
        assert httpx.post(f"{base}/chat/completions", content=request).content == body
        assert got[0]["messages"][0]["content"] == "\ud83d"
        (entry,) = scene.journal(step)
        assert (entry.name[:2], len(entry.name), entry.input_tokens) == ("m?", 255, 0)


def test_separators_in_a_text_do_not_break_its_event(make_scene: MakeScene) -> None:
    text = "one\u2028two\x85three\x0cfour"
    stream = event(choices=[delta(text)]) + event(choices=[delta(None, finish="stop")]) + "data: [DONE]\n\n"
    for body in (stream, stream.replace("\n", "\r\n"), stream.removesuffix("\n\n"), f": waiting\n\n{stream}"):
        with (
            odd_provider(body.encode(), content_type="text/event-stream") as (url, _),
            make_scene(llm_base_url=url) as scene,
        ):
            step = scene.new_step()
            for _ in range(2):
                with scene.attempt(step) as session:
                    assert streamed_text(chat(scene.client(session), stream=True)) == text


def test_stream_of_several_choices_is_whole_when_all_are(make_scene: MakeScene) -> None:
    half = event(choices=[delta("a", 0, "stop")]) + event(choices=[delta("b", 1)])
    whole = half + event(choices=[delta("", 1, "stop")])
    for body, complete in ((half, False), (whole, True)):
        with (
            odd_provider(body.encode(), content_type="text/event-stream") as (url, _),
            make_scene(llm_base_url=url) as scene,
            scene.step() as (step, session),
        ):
            if complete:
                assert streamed_text(chat(scene.client(session), stream=True, n=2)) == "ab"
            else:
                with pytest.raises((httpx.HTTPError, openai.APIError)):
                    streamed_text(chat(scene.client(session), stream=True, n=2))
            assert len(scene.journal(step)) == complete


FAILED_RESPONSE = {"object": "response", "status": "failed", "error": {"code": "server_error", "message": "x"}}


@pytest.mark.parametrize(
    ("body", "stream"),
    [
        (b"<html>", False),
        (b"[]", False),
        (b'{"error": {"code": 502, "message": "overloaded"}}', False),
        (json.dumps(FAILED_RESPONSE).encode(), False),
        ((event(choices=[delta("a")]) + event(error={"code": "overloaded"}) + "data: [DONE]\n\n").encode(), True),
        (event(type="response.failed", response=FAILED_RESPONSE).encode(), True),
        (b'{"choices": []}', True),
    ],
)
def test_failures_that_come_with_status_200(make_scene: MakeScene, body: bytes, stream: bool) -> None:
    content_type = "text/event-stream" if stream else "application/json"
    with odd_provider(body, content_type=content_type) as (url, got), make_scene(llm_base_url=url) as scene:
        with scene.step() as (step, session):
            with pytest.raises((httpx.HTTPError, openai.APIError)):
                _ = list(chat(scene.client(session), stream=stream))
            assert isinstance(session.outcome, ModelUnavailable)
            assert url in str(session.outcome)
        assert scene.journal(step) == []
        assert len(got) == 1


def test_lasting_failure_is_an_answer(make_scene: MakeScene) -> None:
    body = json.dumps({**FAILED_RESPONSE, "error": {"code": "invalid_prompt", "message": "no"}}).encode()
    with odd_provider(body) as (url, _), make_scene(llm_base_url=url) as scene, scene.step() as (step, session):
        assert scene.client(session).responses.create(model="m", input="x").status == "failed"
        assert len(scene.journal(step)) == 1


def test_redirect_is_refused_and_not_followed(make_scene: MakeScene) -> None:
    with (
        odd_provider(completion()) as (elsewhere, reached),
        odd_provider(b"", status=307, headers={"location": elsewhere}) as (url, _),
        make_scene(llm_base_url=url) as scene,
        scene.step() as (_, session),
    ):
        with pytest.raises(openai.BadRequestError, match="OMIUM_LLM_BASE_URL"):
            chat(scene.client(session))
        assert reached == []
        assert session.rejection is not None


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        ("2.5", 2.5, 2.5),
        ("in 1000 s", 900, 1000),
        ("1e12", 3600, 3600),
        ("-1", 0, 0),
    ],
)
def test_pause_that_an_endpoint_asks_for(make_scene: MakeScene, given: str, least: float, most: float) -> None:
    if given == "in 1000 s":
        given = format_datetime(datetime.now(UTC) + timedelta(seconds=1000), usegmt=True)
    with (
        odd_provider(b"{}", status=429, headers={"retry-after": given}) as (url, _),
        make_scene(llm_base_url=url) as scene,
        scene.step() as (_, session),
    ):
        with pytest.raises(openai.APIStatusError):
            chat(scene.client(session))
        assert session.outcome is not None
        assert session.outcome.retry_after is not None
        assert least <= session.outcome.retry_after <= most


@pytest.mark.parametrize("given", ["nan", "inf", "soon"])
def test_pause_that_makes_no_sense(make_scene: MakeScene, given: str) -> None:
    with (
        odd_provider(b"{}", status=503, headers={"retry-after": given}) as (url, _),
        make_scene(llm_base_url=url) as scene,
        scene.step() as (_, session),
    ):
        with pytest.raises(openai.APIStatusError):
            chat(scene.client(session))
        assert session.outcome is not None
        assert session.outcome.retry_after is None


def test_answer_without_end_does_not_fill_the_memory(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "LONGEST_ANSWER", 1000)
    with (
        odd_provider(completion(note="x" * 2000)) as (url, got),
        make_scene(llm_base_url=url) as scene,
        scene.step() as (step, session),
    ):
        with pytest.raises(openai.BadRequestError, match="longer than"):
            chat(scene.client(session))
        assert scene.journal(step) == []
        assert len(got) == 1


def test_no_endpoint_is_configured(make_scene: MakeScene) -> None:
    for url in (None, "http://127.0.0.1:port/v1"):
        with make_scene(llm_base_url=url) as scene, scene.step() as (_, session):
            with pytest.raises(openai.BadRequestError, match="OMIUM_LLM_BASE_URL"):
                chat(scene.client(session))
            assert session.rejection is not None


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("m?x=1", ["/v1/models/m"]),
        ("a%3Fb", ["/v1/models/a%3Fb"]),
        ("..%2Ffiles", []),
        ("%2E%2E/files", []),
        ("a/../../files", []),
    ],
)
def test_name_of_a_model_reaches_nothing_but_models(make_scene: MakeScene, name: str, reached: list[str]) -> None:
    with (
        odd_provider(b"{}") as (url, got),
        make_scene(llm_base_url=url) as scene,
        scene.step() as (_, session),
        socket.create_connection((scene.gateway.host, scene.gateway.port)) as raw,
    ):
        # by hand, because clients tidy paths up
        raw.sendall(
            f"GET /s/{session.token}/v1/models/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        status = int(raw.makefile("rb").readline().split()[1])
        assert (status, got) == (200 if reached else 404, reached)


def test_request_that_is_too_long(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.gateway.server.LONGEST_REQUEST", 1000)
    with make_scene() as scene, scene.step() as (_, session):
        url = f"{scene.gateway.endpoint(session).base_url}/chat/completions"
        assert httpx.post(url, json=chat_request("x" * 1000)).status_code == 413
        assert scene.model.calls == []
