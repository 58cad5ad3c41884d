"""Registered tools as CrewAI sees them."""

from __future__ import annotations

import json
from typing import Any

from crewai.tools import BaseTool
from crewai.utilities.pydantic_schema_utils import create_model_from_schema
from pydantic import PrivateAttr

from activities.adapters.base import Json, ToolBox, ToolSpec
from activities.adapters.crewai.line import Line, LineCut


class RegisteredTool(BaseTool):
    """A tool of the platform. Its failures are answers to the agent; what else goes wrong with it is the step's failure."""

    _spec: ToolSpec = PrivateAttr()
    _toolbox: ToolBox = PrivateAttr()
    _line: Line = PrivateAttr()

    def connect(self, spec: ToolSpec, toolbox: ToolBox, line: Line) -> None:
        self._spec, self._toolbox, self._line = spec, toolbox, line

    def _run(self, **arguments: Any) -> str:
        given = self._given(arguments)
        try:
            answer = self._line.call(lambda: self._toolbox.call(self._spec.name, given, errors_as_answers=True))
        except Exception as error:
            self._line.fail(error)
            raise LineCut from error
        return as_text(answer)

    async def _arun(self, **arguments: Any) -> str:
        given = self._given(arguments)
        try:
            answer = await self._line.acall(lambda: self._toolbox.call(self._spec.name, given, errors_as_answers=True))
        except Exception as error:
            self._line.fail(error)
            raise LineCut from error
        return as_text(answer)

    def _given(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the model gave: CrewAI asks for all arguments and fills those left out with None."""
        required = self._spec.parameters.get("required", ())
        return {name: value for name, value in arguments.items() if value is not None or name in required}


def make_tool(spec: ToolSpec, toolbox: ToolBox, line: Line) -> RegisteredTool:
    """A tool for CrewAI's agents, with the arguments that its JSON Schema asks for."""
    arguments = create_model_from_schema(spec.parameters, model_name=f"{spec.name}_arguments")
    tool = RegisteredTool(name=spec.name, description=spec.description, args_schema=arguments)
    tool.connect(spec, toolbox, line)
    return tool


def as_text(answer: Json) -> str:
    """A tool's answer as an agent reads it; the same bytes for the same answer."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, sort_keys=True)
