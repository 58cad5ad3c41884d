"""The scripted model server, asked by the real OpenAI client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ValidationError

from tests.support.json_instance import smallest_instance
from tests.support.model_server import ModelServer

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "minLength": 2}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    },
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def client(server: ModelServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="key", max_retries=0, timeout=60)


def ask(server: ModelServer, text: str = "hello", **options: Any) -> ChatCompletion:
    messages: Any = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": text}]
    return client(server).chat.completions.create(model="m", messages=messages, **options)  # type: ignore[no-any-return]


def only_tool_call(completion: ChatCompletion) -> Any:
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert len(calls) == 1
    return calls[0]


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_answers_are_functions_of_the_request(server: ModelServer) -> None:
    first, again, other = ask(server), ask(server), ask(server, "goodbye")
    assert first == again
    assert first.id != other.id
    text = first.choices[0].message.content
    assert text is not None
    assert text.startswith("Answer ")
    assert text != other.choices[0].message.content
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens


def test_log_holds_bodies_headers_and_order(server: ModelServer) -> None:
    ask(server, "one")
    ask(server, "two", temperature=0.5)
    first, second = server.wait_for_calls(2)
    assert [first.number, second.number] == [1, 2]
    assert second.body["messages"][-1]["content"] == "two"
    assert second.body["temperature"] == 0.5
    assert first.headers["authorization"] == "Bearer key"
    assert (first.state, first.status) == ("finished", 200)
    logged = httpx.get(f"{server.control_url}/__log").json()["calls"]
    assert [call["body"] for call in logged] == [first.body, second.body]


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ({"model": "^m$"}, True),
        ({"model": "^gpt"}, False),
        ({"system": "brief"}, True),
        ({"last": "brief"}, False),
        ({"last": "^hel+o$"}, True),
        ({"any": "brief[^~]*hello"}, True),
        ({"tool": "weather"}, True),
        ({"tool": "other"}, False),
        ({"called": "weather"}, False),
        ({"not_called": "weather"}, True),
        ({"system": "brief", "last": "goodbye"}, False),
    ],
)
def test_conditions(server: ModelServer, when: dict[str, str], matches: bool) -> None:
    server.set_script([{"when": when, "reply": {"content": "matched"}}])
    assert (ask(server, tools=[WEATHER]).choices[0].message.content == "matched") is matches


def test_misspelt_rule_is_refused(server: ModelServer) -> None:
    with pytest.raises(ValidationError):
        server.set_script([{"when": {"modell": "x"}}])
    answer = httpx.post(f"{server.control_url}/__script", json=[{"reply": {"contents": "x"}}])
    assert answer.status_code == 400


def test_rule_that_is_used_up_lets_the_next_one_answer(server: ModelServer) -> None:
    server.set_script([{"reply": {"content": "first"}, "times": 2}, {"reply": {"content": "then"}}])
    assert [ask(server).choices[0].message.content for _ in range(4)] == ["first", "first", "then", "then"]


def test_tool_loop(server: ModelServer) -> None:
    server.set_script(
        [
            {
                "when": {"tool": "weather", "not_called": "weather"},
                "reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]},
            },
            {"when": {"called": "weather", "last": "4 degrees"}, "reply": {"content": "Cold."}},
        ]
    )
    first = ask(server, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    call: Any = first.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Oslo"})
    messages: Any = [
        {"role": "user", "content": "hello"},
        first.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "4 degrees"},
    ]
    second = client(server).chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "Cold."


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_forced_tool_is_called_with_valid_arguments(server: ModelServer, choice: Any) -> None:
    call = only_tool_call(ask(server, tools=[WEATHER], tool_choice=choice))
    jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])


class Plan(BaseModel):
    class Item(BaseModel):
        name: str
        score: float

    title: str
    items: list[Item]
    best: Item


def test_structured_output(server: ModelServer) -> None:
    messages: Any = [{"role": "user", "content": "plan"}]
    parsed = client(server).chat.completions.parse(model="m", messages=messages, response_format=Plan)
    assert parsed.choices[0].message.parsed == Plan(title="", items=[], best=Plan.Item(name="", score=0))
    response = client(server).responses.parse(model="m", input="plan", text_format=Plan)
    assert response.output_parsed == parsed.choices[0].message.parsed
    assert isinstance(
        json.loads(ask(server, response_format={"type": "json_object"}).choices[0].message.content or ""), dict
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "exclusiveMinimum": 3},
        {"type": "integer", "minimum": 4, "multipleOf": 5},
        {"type": "number", "maximum": -2.5},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": "string", "minLength": 4, "maxLength": 4},
        {"type": "string", "format": "date-time"},
        {"type": "array", "items": {"enum": ["b", "a"]}, "minItems": 2},
        {"anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}], "$defs": {"leaf": {"const": 3}}},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}], "required": ["b"]},
        {"type": ["object", "null"], "properties": {"a": {"type": "array"}}, "required": ["a"]},
    ],
)
def test_smallest_instance_is_valid(schema: dict[str, Any]) -> None:
    jsonschema.validate(smallest_instance(schema), schema, format_checker=jsonschema.FormatChecker())


def test_chat_stream_adds_up_to_the_whole_answer(server: ModelServer) -> None:
    calls = [{"name": "weather", "arguments": {"city": "New York", "days": 2}}]
    server.set_script([{"reply": {"content": "Let me look that up.", "tool_calls": calls}}])
    whole = ask(server, tools=[WEATHER])
    messages: Any = server.calls[0].body["messages"]
    with client(server).chat.completions.stream(
        model="m", messages=messages, tools=[WEATHER], stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert (final.id, final.usage) == (whole.id, whole.usage)
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.content == "Let me look that up."
    streamed, expected = only_tool_call(final), only_tool_call(whole)
    assert (streamed.id, streamed.function.arguments) == (expected.id, expected.function.arguments)


def test_usage_is_streamed_only_when_asked_for(server: ModelServer) -> None:
    chunks: Any = ask(server, stream=True)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_responses(server: ModelServer) -> None:
    asynchronous = openai.AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0)
    whole = await asynchronous.responses.create(model="m", instructions="Be brief.", input="hello")
    assert whole.output_text.startswith("Answer ")
    async with asynchronous.responses.stream(model="m", instructions="Be brief.", input="hello") as stream:
        final = await stream.get_final_response()
    assert (final.id, final.output_text, final.usage) == (whole.id, whole.output_text, whole.usage)
    tool: Any = {"type": "function", "strict": False, **WEATHER["function"]}
    forced: Any = await asynchronous.responses.create(model="m", input="hello", tools=[tool], tool_choice="required")
    call = forced.output[0]
    jsonschema.validate(json.loads(call.arguments), tool["parameters"])
    async with asynchronous.responses.stream(model="m", input="hello", tools=[tool], tool_choice="required") as stream:
        streamed: Any = (await stream.get_final_response()).output[0]
    assert (streamed.call_id, streamed.name, streamed.arguments) == (call.call_id, call.name, call.arguments)


def test_rules_see_responses_like_chats(server: ModelServer) -> None:
    when = {"system": "brief", "last": "4 degrees", "called": "weather"}
    server.set_script([{"when": when, "reply": {"content": "Cold."}}])
    items: Any = [
        {"role": "user", "content": "hello"},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "4 degrees"},
    ]
    assert client(server).responses.create(model="m", instructions="Be brief.", input=items).output_text == "Cold."


def test_embeddings(server: ModelServer) -> None:
    ours = client(server)
    as_base64 = ours.embeddings.create(model="m", input=["one", "two"]).data
    as_floats = ours.embeddings.create(model="m", input="two", encoding_format="float", dimensions=16).data
    assert as_base64[1].embedding == pytest.approx(as_floats[0].embedding, abs=1e-6)
    assert as_base64[0].embedding != as_base64[1].embedding
    assert sum(value * value for value in as_floats[0].embedding) == pytest.approx(1)


def test_models_are_listed(server: ModelServer) -> None:
    assert "scripted-model" in [model.id for model in client(server).models.list()]


def test_scripted_error(server: ModelServer) -> None:
    error = {"status": 429, "retry_after": 2, "message": "slow down"}
    server.set_script([{"reply": {"error": error}, "times": 1}])
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        ask(server)
    assert caught.value.response.headers["retry-after"] == "2"
    assert server.calls[0].status == 429
    ask(server)


def test_unreadable_request_is_a_400_and_no_call(server: ModelServer) -> None:
    for body in (b"{", b"[]", b'{"model": "m"}'):
        assert httpx.post(f"{server.base_url}/chat/completions", content=body).status_code == 400
    assert server.calls == []


def test_dropped_connection(server: ModelServer) -> None:
    server.set_script([{"reply": {"disconnect": True}, "times": 1}])
    with pytest.raises(openai.APIConnectionError):
        ask(server)
    assert server.calls[0].state == "dropped"


def test_truncated_stream(server: ModelServer) -> None:
    server.set_script([{"reply": {"content": "one two three four", "truncate_after": 3}}])
    chunks: Any = ask(server, stream=True)
    seen: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        seen.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert seen == ["", "one ", "two "]
    assert server.calls[0].state == "dropped"


def test_client_that_goes_is_seen(server: ModelServer) -> None:
    server.set_script([{"reply": {"hang": True}}])
    with pytest.raises(openai.APITimeoutError):
        client(server).with_options(timeout=0.2).embeddings.create(model="m", input="x")
    server.wait_for(lambda calls: calls[0].state == "disconnected", timeout=60)


def test_gate_holds_until_it_is_released(server: ModelServer) -> None:
    server.set_script([{"when": {"last": "two"}, "gate": "second", "reply": {"content": "late"}}])
    answers: list[str | None] = []
    waiting = in_thread(lambda: answers.append(ask(server, "two").choices[0].message.content))
    server.wait_until_held()
    ask(server, "one")
    assert answers == []
    httpx.post(f"{server.control_url}/__release", json={"gate": "second"})
    waiting.join(timeout=60)
    assert answers == ["late"]
    ask(server, "two")  # an open gate stays open


def test_nth_call_is_held() -> None:
    with ModelServer(hold_call=2) as server:
        ask(server)
        waiting = in_thread(lambda: ask(server))
        held = server.wait_until_held()[-1]
        assert (held.number, held.gate) == (2, "call-2")
        ask(server)
        server.release("call-2")
        waiting.join(timeout=60)
        assert [call.state for call in server.calls] == ["finished"] * 3


def test_stopping_cuts_held_calls() -> None:
    errors: list[Exception] = []

    def asking() -> None:
        try:
            ask(stopped)
        except openai.APIError as error:
            errors.append(error)

    with ModelServer([{"gate": "never"}]) as stopped:
        waiting = in_thread(asking)
        stopped.wait_until_held()
    waiting.join(timeout=60)
    assert [type(error) for error in errors] == [openai.APIConnectionError]


def test_waiting_in_vain_says_what_was_there(server: ModelServer) -> None:
    ask(server)
    with pytest.raises(TimeoutError, match="1:finished"):
        server.wait_for_calls(2, timeout=0.05)


def test_own_process() -> None:
    command = [sys.executable, "-m", "tests.support.model_server", "--hold-call", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base_url = json.loads(process.stdout.readline())["base_url"]
            control = base_url.removesuffix("/v1")
            httpx.post(f"{control}/__script", json={"rules": [{"reply": {"content": "scripted"}}]}).raise_for_status()
            ours = openai.OpenAI(base_url=base_url, api_key="k", max_retries=0)
            answer = ours.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
            assert answer.choices[0].message.content == "scripted"
            os.kill(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
        finally:
            process.kill()
