"""Answers of the scripted model in the shapes of the OpenAI API: whole, and as the events of a stream.

Ids, times and token counts are functions of the request, so that two runs can be compared byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.model_script import Asked, Said

#: A fixed moment: an answer does not depend on when it was asked for.
CREATED = 1_750_000_000
MODELS = ("scripted-model", "scripted-embedding")
_DIMENSIONS = 16

Event = Mapping[str, Any]


def sse(event: Event) -> bytes:
    """One server-sent event. Events of the responses API carry their type as the event's name."""
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def chat_completion(asked: Asked, said: Said) -> dict[str, Any]:
    calls = [
        {"id": f"call_{asked.digest[:16]}_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(said.tool_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None}
    return {
        "id": f"chatcmpl-{asked.digest[:24]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": asked.model,
        "choices": [choice],
        "usage": _chat_usage(asked, said),
    }


def chat_chunks(asked: Asked, said: Said) -> Iterator[Event]:
    """The events of a streamed chat completion, usage last where `stream_options` asks for it; without `[DONE]`."""
    whole = chat_completion(asked, said)
    wants_usage = bool((asked.body.get("stream_options") or {}).get("include_usage"))
    head = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return head | {"choices": [choice]} | ({"usage": None} if wants_usage else {})

    message = whole["choices"][0]["message"]
    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(said.content or ""):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield chunk({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
        for piece in _pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, whole["choices"][0]["finish_reason"])
    if wants_usage:
        yield head | {"choices": [], "usage": whole["usage"]}


def response(asked: Asked, said: Said) -> dict[str, Any]:
    """A finished answer of the responses API."""
    output: list[dict[str, Any]] = []
    if said.content is not None:
        part = {"type": "output_text", "text": said.content, "annotations": [], "logprobs": []}
        output.append(
            {"id": f"msg_{asked.digest[:24]}", "type": "message", "role": "assistant"}
            | {"status": "completed", "content": [part]}
        )
    for n, (name, arguments) in enumerate(said.tool_calls):
        output.append(
            {"id": f"fc_{asked.digest[:16]}_{n}", "call_id": f"call_{asked.digest[:16]}_{n}", "type": "function_call"}
            | {"name": name, "arguments": arguments, "status": "completed"}
        )
    return _response_head(asked) | {
        "status": "completed",
        "output": output,
        "usage": {
            "input_tokens": _input_tokens(asked),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": _output_tokens(said),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": _input_tokens(asked) + _output_tokens(said),
        },
    }


def response_events(asked: Asked, said: Said) -> Iterator[Event]:
    """The events of a streamed response, numbered from 0."""
    for number, event in enumerate(_response_events(asked, said)):
        yield {**event, "sequence_number": number}


def _response_events(asked: Asked, said: Said) -> Iterator[Event]:
    begun = _response_head(asked) | {"status": "in_progress", "output": [], "usage": None}
    whole = response(asked, said)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        where = {"output_index": index, "item_id": item["id"]}
        empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
        started = item | empty | {"status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": started}
        if item["type"] == "message":
            yield from _text_events(where | {"content_index": 0}, item["content"][0])
        else:
            for piece in _pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", "delta": piece, **where}
            yield {
                "type": "response.function_call_arguments.done",
                "name": item["name"],
                "arguments": item["arguments"],
                **where,
            }
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": whole}


def _text_events(where: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[Event]:
    yield {"type": "response.content_part.added", "part": {**part, "text": ""}, **where}
    for piece in _pieces(part["text"]):
        yield {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **where}
    yield {"type": "response.output_text.done", "text": part["text"], "logprobs": [], **where}
    yield {"type": "response.content_part.done", "part": part, **where}


def embeddings(asked: Asked) -> dict[str, Any]:
    """Vectors of length one that depend on the text alone; base64 where the client asks for it."""
    given = asked.body.get("input", "")
    # A list of integers is one text given as tokens.
    texts = given if isinstance(given, list) and not all(isinstance(item, int) for item in given) else [given]
    as_base64 = asked.body.get("encoding_format") == "base64"
    size = asked.body.get("dimensions") or _DIMENSIONS
    vectors = [_vector(json.dumps(text), size) for text in texts]
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if as_base64 else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": _input_tokens(asked), "total_tokens": _input_tokens(asked)}
    return {"object": "list", "model": asked.model, "data": data, "usage": usage}


def models() -> dict[str, Any]:
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "tests"} for name in MODELS]
    return {"object": "list", "data": listed}


def error(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _response_head(asked: Asked) -> dict[str, Any]:
    return {
        "id": f"resp_{asked.digest[:24]}",
        "object": "response",
        "created_at": CREATED,
        "model": asked.model,
        "instructions": asked.body.get("instructions"),
        "tools": asked.body.get("tools") or [],
        "tool_choice": asked.tool_choice or "auto",
        "parallel_tool_calls": True,
        "error": None,
        "incomplete_details": None,
        "metadata": {},
    }


def _vector(text: str, size: int) -> list[float]:
    seed = hashlib.shake_256(text.encode()).digest(size)
    raw = [byte - 127.5 for byte in seed]
    length = math.sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]


def _chat_usage(asked: Asked, said: Said) -> dict[str, int]:
    asked_tokens, said_tokens = _input_tokens(asked), _output_tokens(said)
    return {
        "prompt_tokens": asked_tokens,
        "completion_tokens": said_tokens,
        "total_tokens": asked_tokens + said_tokens,
    }


def _input_tokens(asked: Asked) -> int:
    return max(1, len(asked.any) // 4)


def _output_tokens(said: Said) -> int:
    calls = sum(len(name) + len(arguments) for name, arguments in said.tool_calls)
    return max(1, (len(said.content or "") + calls) // 4)


def _pieces(text: str) -> list[str]:
    """A text as it comes in a stream: word by word."""
    return re.findall(r"\s*\S+\s*", text)
