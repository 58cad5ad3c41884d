"""What an answer says about itself: the tokens it took, what they cost, and whether it is an answer at all."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING
from typing import Any

from omium_core.settings import ModelPrice

#: One US dollar per million tokens is this many millionths of a credit per token (a credit is a cent).
MICROCREDITS_PER_DOLLAR_PER_MILLION = 100
#: More than any answer has; keeps nonsense out of the journal's columns.
_MOST_TOKENS = 2**31 - 1


def tokens(usage: Any) -> tuple[int, int]:
    """Input and output tokens; the two APIs name them differently. Nonsense counts as none."""
    if not isinstance(usage, dict):
        return 0, 0
    return (
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
    )


def _count(value: Any) -> int:
    return int(min(max(value, 0), _MOST_TOKENS)) if isinstance(value, (int, float)) and value == value else 0


def cost(prices: Mapping[str, ModelPrice], asked: str, answered: str, *, input_tokens: int, output_tokens: int) -> int:
    """In millionths of a credit, rounded up; 0 where no price is known for either name of the model."""
    price = prices.get(asked) or prices.get(answered)
    if price is None:
        return 0
    amount = (price.input * input_tokens + price.output * output_tokens) * MICROCREDITS_PER_DOLLAR_PER_MILLION
    return int(amount.to_integral_value(ROUND_CEILING))


def reported_failure(document: Mapping[str, Any]) -> str | None:
    """The code of a passing failure that came with status 200, as JSON or as an event of a stream; else None.

    A failure that the same request would meet again (an invalid prompt ...) is an answer like any other.
    """
    inner = document["response"] if isinstance(document.get("response"), dict) else document
    error = document if document.get("type") == "error" else inner.get("error")
    if not error or inner.get("choices"):
        return None
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    if isinstance(code, int):
        lasting = 400 <= code < 500 and code not in (408, 409, 425, 429)
    else:
        lasting = str(code).startswith("invalid")
    return None if lasting else str(code or "no code")[:100]
