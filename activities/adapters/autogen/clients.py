"""AutoGen's model client, bound to the gateway.

Every model of a team is one of these, whatever provider a definition names. It makes no retries, and an error of the
endpoint ends the turn.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast

import openai
from autogen_core.models import CreateResult, LLMMessage, ModelFamily, ModelInfo
from autogen_core.tools import Tool, ToolSchema
from autogen_ext.models.openai import BaseOpenAIChatCompletionClient

from activities.adapters.autogen import schema
from activities.adapters.autogen.turns import TurnControl
from activities.adapters.base import ModelEndpoint
from activities.adapters.model_clients import client_for

#: What a model can do whose name AutoGen does not know.
_UNKNOWN: Final = ModelInfo(
    vision=False, function_calling=True, json_output=True, family=ModelFamily.UNKNOWN, structured_output=True
)
#: The window of a model whose name AutoGen does not know, in tokens.
_WINDOW: Final = 128_000


def _as_autogen(info: schema.ModelInfo) -> ModelInfo:
    return cast("ModelInfo", info.model_dump(exclude_none=True))


class GatewayClient(BaseOpenAIChatCompletionClient):
    """A model behind the gateway."""

    def __init__(self, model: schema.ModelConfig, endpoint: ModelEndpoint, control: TurnControl) -> None:
        given = model.model_dump(include=set(schema.CREATE_ARGUMENTS), exclude_none=True)
        options: dict[str, Any] = {
            "client": client_for(endpoint),
            "create_args": {"model": model.model or endpoint.default_model, **given},
            "add_name_prefixes": bool(model.add_name_prefixes),
            "include_name_in_message": model.include_name_in_message is not False,
        }
        info = model.model_info
        try:
            super().__init__(**options, model_info=_as_autogen(info) if info else None)
        except ValueError:
            # AutoGen knows no such model
            super().__init__(**options, model_info=_UNKNOWN)
        self._control = control

    async def create(self, *arguments: Any, **options: Any) -> CreateResult:
        try:
            return await super().create(*arguments, **options)
        except openai.APIError as error:
            self._control.stop(error)

    async def create_stream(self, *arguments: Any, **options: Any) -> AsyncGenerator[str | CreateResult, None]:
        options.setdefault("include_usage", True)
        try:
            async for part in super().create_stream(*arguments, **options):
                yield part
        except openai.APIError as error:
            self._control.stop(error)

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """An estimate, four characters a token: counting needs a file that would be loaded from the internet."""
        texts = [message.model_dump_json() for message in messages]
        texts += [json.dumps(tool.schema if isinstance(tool, Tool) else tool) for tool in tools]
        return -(-sum(map(len, texts)) // 4)

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return _WINDOW - self.count_tokens(messages, tools=tools)
