"""Reads a flow into a `FlowSpec`, collecting every problem with the path of its field, and every warning. Pure.

What is read is well-formed field by field; whether the parts fit together is the business of `checks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from activities.adapters.base import JsonObject
from activities.adapters.crewai.flows import schema
from activities.adapters.crewai.flows.schema import (
    ACTIONS,
    CODE,
    CODE_CALLS,
    AgentCallFields,
    ConfigFields,
    CrewCallFields,
    EachFields,
    EachStepFields,
    ExpressionFields,
    FlowFields,
    MethodFields,
    StateFields,
    ToolCallFields,
)
from activities.adapters.crewai.flows.spec import (
    INPUT_TASK,
    Action,
    AgentCall,
    Condition,
    CrewCall,
    EachCall,
    EachStep,
    ExpressionCall,
    FlowSpec,
    Method,
    ToolCall,
)
from activities.adapters.crewai.parts import PartReader, did_you_mean
from activities.adapters.crewai.reading import CrewSpec, read_crew
from activities.adapters.crewai.schema import Part
from omium_core.errors import Problem

P = TypeVar("P", bound=Part)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH: Final = 10
_CONDITION: Final = 'This must be the name of a method or an event, or {"and": [...]} or {"or": [...]} of such.'


@dataclass
class FlowReading:
    """What was read, what is wrong with it, and what was left out of it."""

    flow: FlowSpec = field(default_factory=FlowSpec)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_flow(definition: JsonObject) -> FlowReading:
    """Reads a whole flow; parts with problems are left out of it."""
    return _FlowReader().read(definition)


class _FlowReader(PartReader):
    refused = schema.REFUSED
    left_out = schema.LEFT_OUT

    def read(self, definition: JsonObject) -> FlowReading:
        apart = ("state", "config", "methods")
        rest = {name: value for name, value in definition.items() if name not in apart}
        for name in ("persist", "conversational"):
            self._drop_switched_off(rest, name)
        fields = self._whole(FlowFields, rest, "", also_known=apart)
        flow = FlowSpec(name=fields.name if fields else "flow")
        self._state(flow, definition.get("state"))
        config = self._whole(ConfigFields, definition.get("config") or {}, "config")
        flow.max_method_calls = config.max_method_calls if config else flow.max_method_calls
        for name, body in self._named_methods(definition.get("methods")):
            method = self._method(name, body)
            if method is not None:
                flow.methods[name] = method
        return FlowReading(flow, self.problems, self.warnings)

    def _whole(self, model: type[P], body: Any, path: str, also_known: tuple[str, ...] = ()) -> P | None:
        """The part, if nothing is wrong with it."""
        before = len(self.problems)
        part = self.part(model, body, path, also_known)
        return part if len(self.problems) == before else None

    def _drop_switched_off(self, body: dict[str, Any], name: str) -> None:
        value = body.get(name)
        if isinstance(value, Mapping) and value.get("enabled", name != "persist") is False:
            del body[name]

    def _state(self, flow: FlowSpec, body: Any) -> None:
        state = self._whole(StateFields, body, "state") if body is not None else None
        if state is None:
            return
        if state.type in ("json_schema", "pydantic") and state.json_schema is None:
            self.problem("state.json_schema", f"A state of type {state.type} needs its JSON Schema here.")
        flow.schema = state.json_schema if state.type in ("json_schema", "pydantic") else None
        properties = (flow.schema or {}).get("properties")
        fields = properties.items() if isinstance(properties, dict) else ()
        given = {name: part["default"] for name, part in fields if isinstance(part, dict) and "default" in part}
        flow.defaults = {**given, **(state.default or {})}

    def _named_methods(self, methods: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(methods, Mapping) or not methods:
            self.problem("methods", "A flow needs at least one method: an object of methods by name.")
            return
        for name, body in methods.items():
            if _NAME.fullmatch(name):
                yield name, body
            else:
                self.problem(f"methods.{name}", "A method's name has letters, digits and _, and begins with no digit.")

    def _method(self, name: str, body: Any) -> Method | None:
        path = f"methods.{name}"
        if isinstance(body, Mapping):
            body = dict(body)
            self._drop_switched_off(body, "persist")
        fields = self._whole(MethodFields, body, path)
        if fields is None:
            return None
        start = fields.start if isinstance(fields.start, bool) else self._condition(fields.start, f"{path}.start")
        listen = self._condition(fields.listen, f"{path}.listen")
        if fields.emit and not fields.router:
            self.warn(f"{path}.emit: emit is left out, as only a router emits events")
        action = self._action(fields.do, f"{path}.do", name)
        return Method(name, action, start or False, listen, fields.router, tuple(fields.emit or ()))

    def _condition(self, condition: Any, path: str, depth: int = 0) -> Condition | None:
        """The condition, if it is one; an empty text is none, as CrewAI has it."""
        if condition is None or condition == "":
            return None
        if isinstance(condition, str):
            return condition
        operator = next(iter(condition)) if isinstance(condition, dict) and len(condition) == 1 else None
        branches = condition[operator] if operator in ("and", "or") else None
        if not isinstance(branches, list) or not branches or depth > _MAX_DEPTH:
            self.problem(path, _CONDITION)
            return None
        for index, branch in enumerate(branches):
            if self._condition(branch, f"{path}.{operator}[{index}]", depth + 1) is None:
                if branch in (None, ""):
                    self.problem(f"{path}.{operator}[{index}]", _CONDITION)
                return None
        return dict(condition)

    def _action(self, body: JsonObject, path: str, name: str, *, inside_each: bool = False) -> Action | None:
        call = body.get("call")
        if call in CODE_CALLS or (call is None and "ref" in body):
            self.problem(path, CODE)
            return None
        if not isinstance(call, str) or call not in ACTIONS:
            hint = did_you_mean(call, ACTIONS) if isinstance(call, str) else "."
            self.problem(f"{path}.call", f"This must be one of {', '.join(ACTIONS)}{hint}")
            return None
        if inside_each and call == "each":
            self.problem(f"{path}.call", "An each holds no other each.")
            return None
        match self._whole(ACTIONS[call], body, path):
            case ExpressionFields() as fields:
                return ExpressionCall(f"{path}.expr", fields.expr)
            case CrewCallFields() as fields:
                crew = self._crew(fields.with_, f"{path}.with")
                inputs = {**crew.default_inputs, **(fields.inputs or {})}
                return CrewCall(path, f"{path}.with", fields.with_, crew, inputs)
            case AgentCallFields() as fields:
                return self._agent(fields.with_, path, name)
            case ToolCallFields() as fields:
                return self._tool(fields, path)
            case EachFields() as fields:
                return EachCall(path, fields.in_, tuple(self._steps(fields.do, f"{path}.do")))
        return None

    def _crew(self, body: JsonObject, place: str) -> CrewSpec:
        reading = read_crew(body)
        self.problems += [Problem(f"{place}.{found.path}", found.message) for found in reading.problems]
        self.warnings += [f"{place}.{warning}" for warning in reading.warnings]
        return reading.crew

    def _agent(self, body: JsonObject, path: str, name: str) -> AgentCall | None:
        agent = {key: value for key, value in body.items() if key not in ("input", "response_format")}
        definition = agent_as_crew(name, agent)
        place, inside = f"{path}.with", f"agents.{name}"
        reading = read_crew(definition)
        for found in reading.problems:
            self.problem(f"{place}{found.path.removeprefix(inside)}", found.message)
        self.warnings += [f"{place}{warning.removeprefix(inside)}" for warning in reading.warnings]
        if body.get("response_format") is not None:
            self.problem(f"{place}.response_format", CODE)
        if agent.get("guardrail"):
            self.problem(
                f"{place}.guardrail", "A guardrail is not supported here; use a crew, whose tasks may have one."
            )
        if not isinstance(body.get("input"), str | list):
            self.problem(f"{place}.input", "This must be a text, or a list of messages.")
            return None
        return AgentCall(path, place, name, definition, reading.crew, body["input"])

    def _tool(self, fields: ToolCallFields, path: str) -> ToolCall | None:
        if ":" in fields.ref or "/" in fields.ref:
            self.problem(
                f"{path}.ref",
                "A tool is named, as in 'calculator', from the tools that the operator registered; `module:Class` and "
                "`app/action` references are code, and are not loaded.",
            )
            return None
        return ToolCall(path, fields.ref, fields.with_ or {})

    def _steps(self, bodies: list[JsonObject], path: str) -> Iterator[EachStep]:
        seen: set[str] = set()
        for index, body in enumerate(bodies):
            where = f"{path}[{index}]"
            fields = self._whole(EachStepFields, body, where)
            if fields is None:
                continue
            if fields.name in seen or not _NAME.fullmatch(fields.name):
                self.problem(
                    f"{where}.name", "A step's name has letters, digits and _, and there is no other of its name."
                )
                continue
            seen.add(fields.name)
            action = self._action(fields.action, f"{where}.action", fields.name, inside_each=True)
            if action is not None:
                yield EachStep(where, fields.name, fields.if_, action)


def agent_as_crew(name: str, agent: JsonObject) -> JsonObject:
    """A crew of one agent, as which the agent of an `agent` call is read and edited."""
    task = {"description": "input", "expected_output": "output", "agent": name}
    return {"agents": {name: agent}, "tasks": {INPUT_TASK: task}}
