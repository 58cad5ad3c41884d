"""What passes through the gateway: every kind of call, with the provider's key, metered and journaled."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.gateway.conftest import MakeScene
from tests.gateway.support import DEFAULT_MODEL, PROVIDER_KEY, Scene, chat, chat_request, streamed_text, text_of

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    name: str
    people: int


def test_chat_completion(scene: Scene) -> None:
    scene.model.set_script([{"reply": {"content": "Good day."}}])
    with scene.step() as (step, session):
        answer = chat(scene.client(session, organization="org-of-the-caller"), temperature=0.5)
        assert text_of(answer) == "Good day."
    (call,) = scene.model.calls
    assert call.body == {**chat_request(), "temperature": 0.5}
    assert call.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert not [value for value in call.headers.values() if "of-the-caller" in value or session.token in value]
    (entry,) = scene.journal(step)
    assert (entry.kind, entry.name, entry.endpoint, entry.attempt) == ("model", "m", "chat/completions", 1)
    assert (entry.input_tokens, entry.output_tokens) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert (session.model_calls, session.tokens) == (1, answer.usage.total_tokens)


def test_structured_output_and_tools(scene: Scene) -> None:
    scene.model.set_script(
        [
            {
                "when": {"tool": "weather"},
                "reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]},
            },
            {"reply": {"json": {"name": "Oslo", "people": 700_000}}},
        ]
    )
    with scene.step() as (_, session):
        client = scene.client(session)
        called = chat(client, tools=[WEATHER]).choices[0].message.tool_calls[0].function
        assert (called.name, called.arguments) == ("weather", '{"city": "Oslo"}')
        parsed = client.chat.completions.parse(**chat_request(response_format=City)).choices[0].message.parsed
        assert parsed == City(name="Oslo", people=700_000)
    assert scene.model.calls[0].body["tools"] == [WEATHER]


def test_responses_and_embeddings(scene: Scene) -> None:
    with scene.step() as (step, session):
        client = scene.client(session)
        whole = client.responses.create(model="m", input="hello")
        with client.responses.stream(model="m", input="hello") as stream:
            streamed = stream.get_final_response()
        assert streamed.output_text == whole.output_text
        vectors = client.embeddings.create(model="m", input=["one", "two"]).data
        assert vectors[0].embedding != vectors[1].embedding
    assert whole.usage is not None
    assert [(entry.endpoint, entry.output_tokens) for entry in scene.journal(step)] == [
        ("responses", whole.usage.output_tokens),
        ("responses", whole.usage.output_tokens),
        ("embeddings", 0),
    ]


def test_models(scene: Scene) -> None:
    with scene.step() as (step, session):
        client = scene.client(session)
        assert "scripted-model" in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("unknown")
    assert scene.journal(step) == []


def test_stream_comes_as_it_is_made(scene: Scene) -> None:
    scene.model.set_script([{"reply": {"content": "one two three four", "chunk_delay": 0.05}}])
    with scene.step() as (step, session):
        chunks = iter(chat(scene.client(session), stream=True))
        first = next(chunks)
        assert scene.model.calls[0].state == "answering"
        assert streamed_text([first, *chunks]) == "one two three four"
        assert len(scene.journal(step)) == 1


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_end_of_a_stream_is_held_back_until_it_is_journaled(scene: Scene, api: str) -> None:
    """The journal's table is locked: all but the end arrives, and the end comes when the lock is gone."""
    with scene.step() as (step, session):
        client = scene.client(session)
        seen: list[Any] = []
        ended = threading.Event()

        def read() -> None:
            stream: Any = (
                chat(client, stream=True)
                if api == "chat"
                else client.responses.create(model="m", input="hello", stream=True)
            )
            for event in stream:
                seen.append(event)
            ended.set()

        def is_end(event: Any) -> bool:
            return bool(event.choices[0].finish_reason) if api == "chat" else event.type == "response.completed"

        with scene.rows.journal_locked():
            reading = threading.Thread(target=read, daemon=True)
            reading.start()
            scene.model.wait_for(lambda calls: bool(calls) and calls[0].state == "finished")
            scene.rows.wait_for_blocked_write()
            assert len(seen) > 2
            assert not any(map(is_end, seen))
            assert not ended.is_set()
        assert ended.wait(60)
        assert is_end(seen[-1])
        assert len(scene.journal(step)) == 1


@pytest.mark.parametrize("asks", [True, False])
def test_streams_are_metered_and_show_usage_to_those_who_ask(scene: Scene, asks: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
    with scene.step() as (step, session):
        chunks = list(chat(scene.client(session), model="priced", stream=True, **options))
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [asks]
    assert all(chunk.choices for chunk in chunks) is not asks
    (entry,) = scene.journal(step)
    assert entry.input_tokens > 0
    assert entry.cost == 100 * entry.input_tokens + 200 * entry.output_tokens
    assert session.tokens == entry.input_tokens + entry.output_tokens


def test_unpriced_model_costs_nothing(scene: Scene) -> None:
    with scene.step() as (step, session):
        chat(scene.client(session), model="priced")
        chat(scene.client(session), model="other")
    priced, other = scene.journal(step)
    assert priced.cost == 100 * priced.input_tokens + 200 * priced.output_tokens
    assert other.cost == 0


@pytest.mark.parametrize(("force", "sent"), [(False, ["named", DEFAULT_MODEL]), (True, [DEFAULT_MODEL] * 2)])
def test_model_of_the_settings(make_scene: MakeScene, force: bool, sent: list[str]) -> None:
    with make_scene(llm_force_model=force) as scene, scene.step() as (_, session):
        assert scene.gateway.endpoint(session).default_model == DEFAULT_MODEL
        client = scene.client(session)
        chat(client, model="named")
        client.chat.completions.create(**chat_request(model=openai.omit))
        assert [call.body["model"] for call in scene.model.calls] == sent


@pytest.mark.parametrize("ending", ["/v1", "/v1/", "", "/", "/v1/v1"])
def test_base_url_in_every_spelling(scene: Scene, ending: str) -> None:
    with scene.step() as (_, session):
        own = scene.gateway.endpoint(session).base_url.removesuffix("/v1")
        answer = httpx.post(f"{own}{ending.rstrip('/')}/chat/completions", json=chat_request())
        assert answer.status_code == (404 if ending == "/v1/v1" else 200)
        client = openai.OpenAI(base_url=own + ending, api_key="k")
        if ending != "/v1/v1":
            chat(client)


@pytest.mark.parametrize("ending", ["/v1", "/v1/", "", "/"])
def test_provider_in_every_spelling(make_scene: MakeScene, model: Any, ending: str) -> None:
    with make_scene(llm_base_url=model.control_url + ending) as scene, scene.step() as (_, session):
        chat(scene.client(session))
        assert scene.model.calls[0].path == "/v1/chat/completions"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_proxy_of_the_environment_does_not_get_between(
    make_scene: MakeScene, model: Any, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with make_scene(llm_base_url=f"http://{host}:{model.port}/v1") as scene, scene.step() as (_, session):
        chat(scene.client(session))


def test_many_streams_at_once(scene: Scene) -> None:
    scene.model.set_script([{"gate": "g", "reply": {"content": "one two three", "chunk_delay": 0.02}}])
    with scene.step() as (step, session):
        client = scene.client(session)
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda n=n: texts.append(streamed_text(chat(client, f"q{n}", stream=True))))
            for n in range(40)
        ]
        for thread in threads:
            thread.start()
        scene.model.wait_until_held(40)
        scene.model.release("g")
        for thread in threads:
            thread.join(60)
        assert texts == ["one two three"] * 40
        assert len(scene.journal(step)) == 40
        assert session.model_calls == 40


def test_unreadable_requests(scene: Scene) -> None:
    with scene.step() as (step, session):
        url = scene.gateway.endpoint(session).base_url
        for body in (b"{", b"[]", b"\xff", b'{"n": NaN}', b"[" * 100_000):
            answer = httpx.post(f"{url}/chat/completions", content=body)
            assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
        assert httpx.post(f"{url}/files", json={}).status_code == 404
    assert scene.model.calls == []
    assert scene.journal(step) == []


def test_large_request_and_answer(scene: Scene) -> None:
    text = "word " * 1_000_000
    scene.model.set_script([{"reply": {"content": text}}])
    with scene.step() as (_, session):
        assert text_of(chat(scene.client(session), text)) == text
        assert text_of(chat(scene.client(session), text)) == text
    assert len(scene.model.calls) == 2
