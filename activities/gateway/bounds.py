"""Pure: how many tokens a call of a model can take at most, told from the request alone. See docs/prices.md.

A token stands for at least one byte of what is sent, so the bytes of the request bound the tokens of its input without
knowing the model's tokenizer. What the provider adds by itself (the frame of a message, of a tool), and what is sent as a
picture or as a reference to something that it has, is bounded by the constants below.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.pricing import MESSAGE_OVERHEAD

#: Tokens that a provider puts before the definitions of tools, and around each of them.
TOOLS_OVERHEAD: Final = 512
#: Tokens of a picture: more than any model is known to count for one.
IMAGE_TOKENS: Final = 50_000
#: Bytes of recorded sound, as they are sent in base64, that make a token at least.
AUDIO_BYTES_PER_TOKEN: Final = 16
#: Tokens of what the provider keeps and the request only names: a whole context of the longest kind.
STORED_TOKENS: Final = 1_000_000
#: No model answers with more tokens; who asks for more asks for as many as there may be.
LONGEST_ANSWER: Final = 1_000_000
#: More answers at once are refused by every provider.
_MOST_CHOICES: Final = 1000

_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat/completions": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
_STORED: Final = ("previous_response_id", "conversation", "file_id", "vector_store_ids")
_PICTURES: Final = ("image_url", "input_image", "image")


@dataclass(frozen=True)
class Bound:
    """Tokens of a call at most. `output` is that of each of the `choices`; None where the request does not say."""

    input: int
    output: int | None
    choices: int = 1

    def outputs(self, model_limit: int) -> int:
        """Output tokens of all choices, of a model that answers with at most so many each."""
        each = model_limit if self.output is None else self.output
        return self.choices * each


def bound(endpoint: str, request: Mapping[str, Any]) -> Bound:
    """What a request to one of the gateway's endpoints can take."""
    given = _input(request)
    if endpoint not in _LIMITS:
        # embeddings answer with no tokens
        return Bound(given, 0)
    limits = [limit for name in _LIMITS[endpoint] if (limit := _count(request.get(name))) is not None]
    # where several are given, some provider goes by the larger one
    longest = min(max(limits), LONGEST_ANSWER) if limits else None
    return Bound(given, longest, _choices(endpoint, request))


def _choices(endpoint: str, request: Mapping[str, Any]) -> int:
    if endpoint == "responses":
        return 1
    asked = _count(request.get("n")) or 1
    if endpoint == "completions":
        asked = max(asked, _count(request.get("best_of")) or 1)
        prompts = request.get("prompt")
        if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
            # each prompt is answered
            return min(asked, _MOST_CHOICES) * len(prompts)
    return min(asked, _MOST_CHOICES)


def _count(value: Any) -> int | None:
    """A number of tokens or choices, as lenient as the most lenient provider; None for what says nothing."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value <= 0:
        return None
    return LONGEST_ANSWER if value >= LONGEST_ANSWER else math.ceil(value)


def _input(request: Mapping[str, Any]) -> int:
    tokens = 0
    for name in ("messages", "input", "prompt"):
        parts = request.get(name)
        tokens += MESSAGE_OVERHEAD * (len(parts) if isinstance(parts, list) else 1)
    for name in ("tools", "functions"):
        tools = request.get(name)
        if isinstance(tools, list) and tools:
            tokens += TOOLS_OVERHEAD + MESSAGE_OVERHEAD * len(tools)
    prompt = request.get("prompt")
    if isinstance(prompt, Mapping):
        # a prompt that the provider keeps, of which only the variables are sent
        tokens += STORED_TOKENS
    return tokens + _tokens(request)


def _tokens(value: Any) -> int:
    """Bytes of the text, but for what is no text. Goes down without recursion: a request may be nested deeply."""
    tokens = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            tokens += 2 + sum(_length(name) + 4 for name in one)
            kind = one.get("type")
            for name, part in one.items():
                if name in _STORED and part:
                    tokens += STORED_TOKENS
                elif name in _PICTURES and (address := _picture(part)) is not None:
                    tokens += IMAGE_TOKENS + (0 if address.startswith("data:") else _length(address))
                elif name in ("data", "file_data") and isinstance(part, str):
                    tokens += _recorded(part) if kind is None and "format" in one else IMAGE_TOKENS + len(part)
                else:
                    waiting.append(part)
        elif isinstance(one, list):
            tokens += 2 + len(one)
            waiting.extend(one)
        elif isinstance(one, str):
            tokens += _length(one) + 2
        else:
            tokens += len(json.dumps(one))
    return tokens


def _picture(value: Any) -> str | None:
    address = value.get("url") if isinstance(value, Mapping) else value
    return address if isinstance(address, str) else None


def _recorded(sound: str) -> int:
    return len(sound) // AUDIO_BYTES_PER_TOKEN + 1


def _length(text: Any) -> int:
    return len(str(text).encode(errors="surrogatepass"))
