"""Registered tools as AutoGen's agents see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from autogen_core import CancellationToken
from autogen_core.tools import ParametersSchema, TextResultContent, ToolResult, ToolSchema, Workbench
from pydantic import BaseModel

from activities.adapters.autogen.states import as_text
from activities.adapters.autogen.turns import TurnControl
from activities.adapters.base import ToolBox


class RegisteredTools(Workbench):
    """Tools of the platform. Their failures are answers to the agent; what else goes wrong with them ends the turn."""

    component_config_schema = BaseModel
    component_provider_override = "activities.adapters.autogen.tools.RegisteredTools"

    def __init__(self, names: Sequence[str], toolbox: ToolBox, control: TurnControl) -> None:
        self._specs = toolbox.specs(names)
        self._toolbox = toolbox
        self._control = control

    async def list_tools(self) -> list[ToolSchema]:
        return [
            ToolSchema(
                name=spec.name,
                description=spec.description,
                parameters=cast("ParametersSchema", {"type": "object", "properties": {}, **spec.parameters}),
            )
            for spec in self._specs
        ]

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Never raises, except when its task is cancelled: AutoGen waits for ever for a tool that raised."""
        if arguments is not None and not isinstance(arguments, Mapping):
            return _result(name, "Error: the arguments of a tool must be a JSON object.")
        call = self._toolbox.call(name, dict(arguments or {}), errors_as_answers=True)
        running = self._control.token.link_future(asyncio.ensure_future(call))
        try:
            return _result(name, as_text(await running))
        except asyncio.CancelledError:
            if not self._control.token.is_cancelled():
                raise
            return _result(name, "Error: the turn was stopped.")
        except Exception as error:
            self._control.fail(error)
            return _result(name, "Error: the turn was stopped.")

    async def start(self) -> None:
        """Nothing to start: the tools live in the platform."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def reset(self) -> None:
        """Nothing to reset."""

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Tools have no state of a team."""


def _result(name: str, text: str) -> ToolResult:
    return ToolResult(name=name, result=[TextResultContent(content=text)], is_error=text.startswith("Error:"))
