"""What an answer says about itself: the tokens it took, how long it is, and whether it is an answer at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.pricing import Used

#: More is nonsense: a token stands for a byte at least, and no request or answer is longer than 64 MiB.
_MOST_TOKENS: Final = 2**26
#: Bytes of text for which a token is charged where the provider does not tell how many there were.
BYTES_PER_TOKEN: Final = 4
#: Where the words of an answer stand.
_TEXT: Final = frozenset(
    {
        "content",
        "text",
        "arguments",
        "refusal",
        "reasoning",
        "reasoning_content",
        "delta",
        "name",
        "input",
        "output_text",
    }
)


@dataclass(frozen=True)
class Reported:
    """Tokens as the provider reports them; None for what it does not, or where it says nonsense."""

    input: int | None = None
    output: int | None = None
    cached: int = 0


def reported(usage: Any) -> Reported:
    """Reads the usage of an answer; the two APIs name things differently. All zeros is as good as nothing said."""
    if not isinstance(usage, dict):
        return Reported()
    given = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    made = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    if not given and not made:
        return Reported()
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Reported(given, made, min(cached or 0, given or 0))


def charged(told: Reported, *, asked_bytes: int, said_bytes: int) -> tuple[Used, bool]:
    """The tokens that are paid for, and whether some of them are estimated: a call is not free for want of a report."""
    given = max(_estimate(asked_bytes), 1) if told.input is None else told.input
    made = _estimate(said_bytes) if told.output is None else told.output
    estimated = told.input is None or (told.output is None and said_bytes > 0)
    return Used(input=given, cached=told.cached, output=made), estimated


def asked(request: Mapping[str, Any]) -> int:
    """Bytes of the words of a request."""
    return text_length([request.get(name) for name in ("messages", "prompt", "input", "instructions", "tools")])


def _estimate(length: int) -> int:
    return -(-length // BYTES_PER_TOKEN)


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    return int(value) if 0 <= value <= _MOST_TOKENS else None


def text_length(answer: Any) -> int:
    """Bytes of the words in a request, an answer, or an event of a stream, without the frame around them."""
    length = 0
    waiting = [answer]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            length += len(one.encode(errors="replace"))
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            parts = ((name, part) for name, part in one.items() if name != "logprobs")
            waiting.extend(part for name, part in parts if name in _TEXT or not isinstance(part, str))
    return length


def said(document: Mapping[str, Any]) -> int:
    """Bytes of the words of a whole answer, or of what an event of a stream adds to it; vectors are no words.

    Events of the responses API repeat at their end what came piece by piece: only the pieces count.
    """
    if "choices" in document:
        return text_length(document["choices"])
    if "output" in document:
        return text_length(document["output"])
    return text_length(document.get("delta")) if str(document.get("type")).endswith(".delta") else 0


def reported_failure(document: Mapping[str, Any]) -> str | None:
    """The code of a passing failure that came with status 200, as JSON or as an event of a stream; else None.

    A failure that the same request would meet again (an invalid prompt ...) is an answer like any other.
    """
    error, inner = _error(document)
    if not error or inner.get("choices"):
        return None
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    if isinstance(code, int):
        lasting = 400 <= code < 500 and code not in (408, 409, 425, 429)
    else:
        lasting = str(code).startswith("invalid")
    return None if lasting else str(code or "no code")[:100]


def is_refusal(document: Mapping[str, Any]) -> bool:
    """Whether an answer with status 200 is the provider's error: nothing was made that could be paid for."""
    error, inner = _error(document)
    return bool(error) and not inner.get("choices")


def _error(document: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    inner = document["response"] if isinstance(document.get("response"), dict) else document
    return (document if document.get("type") == "error" else inner.get("error")), inner
