"""Streamed answers: server-sent events as they go by, and what they tell about the answer as a whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from activities.gateway import usage

#: The types of the event that ends a stream of the responses API.
_LAST_TYPES = frozenset({"response.completed", "response.failed", "response.incomplete"})


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Server-sent events, each with its closing blank line.

    Works on bytes: a line of text may hold separators (U+2028 ...) that end no line of the protocol.
    """
    rest = b""
    lines: list[bytes] = []
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in map(_without_return, whole):
            if line:
                lines.append(line)
            elif lines:
                yield b"\n".join(lines) + b"\n\n"
                lines = []
    if _without_return(rest):
        lines.append(_without_return(rest))
    if lines:
        yield b"\n".join(lines) + b"\n\n"


def _without_return(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


class StreamedAnswer:
    """Collects a stream. `body` is what the client gets, now and on replay; the events given out early are its beginning.

    `choices` says how many choices must finish before the answer is whole. `hide_usage` drops the event with the usage,
    for a client that did not ask for it.
    """

    def __init__(self, *, choices: int, hide_usage: bool) -> None:
        self._choices = choices
        self._hide_usage = hide_usage
        self._finished: set[Any] = set()
        self._kept: list[bytes] = []
        self.ended = False
        self.model: Any = None
        self.usage: Any = None
        #: Bytes of the words so far, and whether it ended as an error.
        self.text_length = 0
        self.refused = False

    @property
    def body(self) -> bytes:
        return b"".join(self._kept)

    def add(self, event: bytes, data: dict[str, Any] | None) -> bool:
        """Takes in an event with its JSON; tells whether it may be given out before the answer is in the journal.

        What ends the answer may not: a client that has seen the end may act on it.
        """
        if data is None:
            self.ended = self.ended or event.strip() in (b"data: [DONE]", b"data:[DONE]")
        else:
            inner = data["response"] if isinstance(data.get("response"), dict) else data
            self.model = inner.get("model") or self.model
            self.usage = inner.get("usage") or self.usage
            self.text_length += usage.said(data)
            self.refused = self.refused or usage.is_refusal(data)
            self.ended = self.ended or self._is_end(data)
            if self._hide_usage and data.get("usage") and not data.get("choices"):
                return False
        self._kept.append(event)
        return not self.ended

    def _is_end(self, data: dict[str, Any]) -> bool:
        if data.get("type") in _LAST_TYPES:
            return True
        choices = data.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("finish_reason"):
                self._finished.add(str(choice.get("index")))
        return len(self._finished) >= self._choices


def event_data(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event, or None for `[DONE]` and comments."""
    text = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
