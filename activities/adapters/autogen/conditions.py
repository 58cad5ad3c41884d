"""The shapes of termination conditions and model contexts in component JSON. Pure: no AutoGen here."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from activities.adapters.autogen.schema import Part
from activities.adapters.base import JsonObject

CONTEXTS: Final = (
    "UnboundedChatCompletionContext",
    "BufferedChatCompletionContext",
    "HeadAndTailChatCompletionContext",
    "TokenLimitedChatCompletionContext",
)


class Unbounded(Part):
    initial_messages: list[JsonObject] | None = None


class Buffered(Unbounded):
    buffer_size: int = Field(ge=1)


class HeadAndTail(Unbounded):
    head_size: int = Field(ge=1)
    tail_size: int = Field(ge=1)


class TokenLimited(Unbounded):
    token_limit: int | None = Field(default=None, ge=1)


CONTEXT_CONFIGS: Final[dict[str, type[Unbounded]]] = dict(
    zip(CONTEXTS, (Unbounded, Buffered, HeadAndTail, TokenLimited), strict=True)
)


class Nothing(Part):
    """A condition without fields."""


class MaxMessages(Part):
    max_messages: int = Field(ge=1)
    include_agent_event: bool = False


class TextMention(Part):
    text: str = Field(min_length=1)
    sources: list[str] | None = None


class TokenUsage(Part):
    max_total_token: int | None = Field(default=None, ge=1)
    max_prompt_token: int | None = Field(default=None, ge=1)
    max_completion_token: int | None = Field(default=None, ge=1)


class HandoffTarget(Part):
    target: str = Field(min_length=1)


class Timeout(Part):
    timeout_seconds: float = Field(gt=0, allow_inf_nan=False)


class Sources(Part):
    sources: list[str] = Field(min_length=1)


class Source(Part):
    source: str | None = None


class FunctionName(Part):
    function_name: str = Field(min_length=1)


class Combination(Part):
    conditions: list[Any] = Field(min_length=1)


#: All conditions that AutoGen can describe in JSON.
CONDITIONS: Final[dict[str, type[Part]]] = {
    "MaxMessageTermination": MaxMessages,
    "TextMentionTermination": TextMention,
    "StopMessageTermination": Nothing,
    "TokenUsageTermination": TokenUsage,
    "HandoffTermination": HandoffTarget,
    "TimeoutTermination": Timeout,
    "ExternalTermination": Nothing,
    "SourceMatchTermination": Sources,
    "TextMessageTermination": Source,
    "FunctionCallTermination": FunctionName,
    "OrTerminationCondition": Combination,
    "AndTerminationCondition": Combination,
}
