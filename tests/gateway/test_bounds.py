"""The most that a call can take, and what an answer took, told from the request and the answer alone."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from activities.gateway.bounds import (
    AUDIO_BYTES_PER_TOKEN,
    IMAGE_TOKENS,
    LONGEST_ANSWER,
    STORED_TOKENS,
    bound,
)
from activities.gateway.money import models_quote
from activities.gateway.prices import Prices
from activities.gateway.usage import Reported, asked, charged, reported, said
from models.pricing import Rate, Used

CHAT = "chat/completions"


def request(text: str = "hello", **options: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **options}


NONSENSE: list[Any] = [None, 0, -1, "many", True, [], {}, float("nan"), "nan"]
HUGE: list[Any] = [10**400, 1e308, float("inf"), "9" * 400]


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 200}, 200),
        ({"max_tokens": 100, "max_completion_tokens": 200}, 200),
        # a name that this endpoint does not know bounds nothing
        ({"max_output_tokens": 1}, None),
        ({"max_tokens": "50"}, 50),
        ({"max_tokens": 7.2}, 8),
        *(({"max_tokens": nonsense}, None) for nonsense in NONSENSE),
        *(({"max_tokens": huge}, LONGEST_ANSWER) for huge in HUGE),
    ],
)
def test_output_is_what_the_request_allows(options: dict[str, Any], tokens: int | None) -> None:
    assert bound(CHAT, request(**options)).output == tokens


@pytest.mark.parametrize(
    ("endpoint", "options", "outputs"),
    [
        (CHAT, {"n": 3}, 30),
        (CHAT, {"n": "3"}, 30),
        (CHAT, {"n": None}, 10),
        (CHAT, {"n": -5}, 10),
        (CHAT, {"n": 10**30}, 10_000),
        ("completions", {"n": 2, "best_of": 4}, 40),
        ("completions", {"prompt": ["a", "b", "c"], "n": 2}, 60),
        ("completions", {"prompt": [[1, 2], [3]]}, 20),
        ("completions", {"prompt": [1, 2, 3]}, 10),
        ("responses", {"n": 5, "max_output_tokens": 20}, 20),
        ("embeddings", {"input": ["a", "b"]}, 0),
    ],
)
def test_each_choice_and_each_prompt_is_answered(endpoint: str, options: dict[str, Any], outputs: int) -> None:
    assert bound(endpoint, {"model": "m", "max_tokens": 10, **options}).outputs(9999) == outputs


@pytest.mark.parametrize("text", ["hello", "ﷺ" * 50, "\U0001f600" * 100, 'quotes " and \\ ' * 9, "\n" * 200, "\ud800"])
def test_input_is_at_least_a_token_for_a_byte(text: str) -> None:
    assert bound(CHAT, request(text)).input >= len(text.encode(errors="surrogatepass"))


def test_every_message_and_tool_has_its_frame() -> None:
    empty = {"role": "user", "content": ""}
    with_tools = {"messages": [empty], "tools": [{"type": "function", "function": {"name": "f"}}]}
    assert bound(CHAT, {"messages": [empty] * 100}).input >= 1600
    assert bound(CHAT, with_tools).input >= 512


def test_pictures_sound_and_what_the_provider_keeps_are_bounded_without_their_bytes() -> None:
    def of(part: dict[str, Any]) -> int:
        return bound(CHAT, {"messages": [{"role": "user", "content": [part]}]}).input

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
    assert IMAGE_TOKENS <= of(picture) < IMAGE_TOKENS + 1000
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 1_600_000, "format": "wav"}}
    assert 1_600_000 // AUDIO_BYTES_PER_TOKEN <= of(sound) < 110_000
    assert bound("responses", {"input": "x", "previous_response_id": "r"}).input >= STORED_TOKENS
    # text that only looks like a picture counts
    assert of({"type": "image_url", "image_url": {"url": "x" * 200_000}}) > 200_000


def test_deep_requests_are_bounded_too() -> None:
    deep: Any = "x" * 1000
    for _ in range(100_000):
        deep = [deep]
    assert bound(CHAT, {"messages": deep}).input >= 1000


def prices(**rate: Any) -> Prices:
    return Prices(0, (), {"m": Rate(**rate)}, None)


def test_price_by_the_call_alone_is_exactly_that() -> None:
    quote = models_quote(prices(per_call=Decimal("1.5")), CHAT, request(), "m", 4096)
    assert quote.most == 1_500_000


def test_models_own_limit_bounds_its_answers() -> None:
    bytes_of = bound(CHAT, request()).input
    cheap = {"input_per_1m": Decimal(1), "output_per_1m": Decimal(2)}
    assert models_quote(prices(**cheap), CHAT, request(), "m", 4096).most == bytes_of + 2 * 4096
    assert models_quote(prices(**cheap, max_output_tokens=50), CHAT, request(), "m", 4096).most == bytes_of + 100
    longer = request(max_tokens=10**9)
    assert models_quote(prices(**cheap, max_output_tokens=50), CHAT, longer, "m", 4096).limit == Used(
        input=bound(CHAT, longer).input, output=50
    )


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5}, Reported(10, 5)),
        ({"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}, Reported(10, 5, 4)),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}, Reported(10, None, 10)),
        ({"prompt_tokens": 10, "completion_tokens": -5}, Reported(10, None)),
        ({"prompt_tokens": True, "completion_tokens": "5"}, Reported()),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Reported()),
        ({"prompt_tokens": float("nan"), "completion_tokens": 5}, Reported(None, 5)),
        (None, Reported()),
        ([], Reported()),
    ],
)
def test_usage_is_read_as_it_is_reported(usage: Any, tokens: Reported) -> None:
    assert reported(usage) == tokens


def test_what_is_not_reported_is_estimated() -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "x" * 40}}]}
    question = request("y" * 80)
    assert said(whole) == 40
    assert charged(Reported(), asked_bytes=asked(question), said_bytes=said(whole)) == (Used(20, 0, 10), True)
    assert charged(Reported(7, None), asked_bytes=80, said_bytes=0) == (Used(7, 0, 0), False)
    assert charged(Reported(7, 3, 2), asked_bytes=80, said_bytes=99) == (Used(7, 2, 3), False)


def test_pieces_of_a_stream_are_counted_once() -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "delta": "four"},
        {"type": "response.output_text.done", "text": "four"},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "four"}]}]}},
    ]
    assert sum(said(event) for event in events) == 4
    assert said({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}) == 3
    assert said({"data": [{"embedding": [0.1]}]}) == 0


def test_bound_is_not_below_what_json_sends() -> None:
    """The request as it is sent has no byte of text that the bound does not count."""
    body = request("täglich", tools=[{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}], seed=7)
    assert bound(CHAT, body).input >= len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
