"""Flows, in the pure half of the CrewAI adapter: judged, planned and edited without importing CrewAI.

A flow is one step: its methods, loops and crews run inside it, over the journal. A retried step is given the answers that
it got before; between its methods there is no checkpoint.
"""

from __future__ import annotations

from typing import Any, Final

from activities.adapters.base import Edit, JsonObject, Plan
from activities.adapters.crewai.flows.checks import check_flow, missing_inputs
from activities.adapters.crewai.flows.editing import edited
from activities.adapters.crewai.flows.reading import read_flow
from activities.adapters.crewai.flows.schema import (
    ACTIONS,
    SCHEMA,
    ConfigFields,
    EachStepFields,
    FlowFields,
    MethodFields,
    StateFields,
    json_schema_of,
)
from activities.adapters.crewai.flows.spec import FlowSpec, ToolCall
from activities.adapters.crewai.flows.states import read_state
from omium_core.errors import InvalidInput, Problem

ONE_STEP: Final = (
    "A CrewAI flow runs as one long step: after a crash no answered model or tool call is made again, but there is no "
    "checkpoint, pause or rollback inside it."
)


def is_flow(definition: JsonObject) -> bool:
    """Whether a definition is a CrewAI flow, and no crew."""
    if "methods" in definition and "tasks" not in definition:
        return True
    return str(definition.get("schema", "")).startswith("crewai.flow")


def step_name(flow: FlowSpec) -> str:
    return f"flow · {flow.name}"


class FlowDefinition:
    """Implements `FrameworkDefinition` for flows."""

    name = "crewai"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems of a flow, with paths such as `methods.draft.do.with.agents.writer.goal`."""
        reading = read_flow(definition)
        return reading.problems or list(check_flow(reading.flow, tools))

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """What the state's schema says of the inputs, and inputs that a template names and nothing gives."""
        return list(missing_inputs(read_flow(definition).flow, inputs))

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """One step."""
        reading = read_flow(definition)
        agents = dict.fromkeys(name for _, action in reading.flow.crews() for name in action.crew.agents)
        return Plan((step_name(reading.flow),), agents=tuple(agents), warnings=(ONE_STEP, *reading.warnings))

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Only for tools that are not known here: a flow holds no code."""
        return not tools.issuperset(name for _, name in named_tools(read_flow(definition).flow))

    def view(self, state: JsonObject) -> JsonObject:
        """The inputs, and the result once there is one."""
        inputs, result = read_state(state)
        return {"inputs": inputs, **(result or {})}

    def values(self, state: JsonObject) -> JsonObject:
        """What the methods gave, by their names; nothing before the flow has run."""
        outputs: JsonObject = (read_state(state)[1] or {}).get("outputs", {})
        return outputs

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The name of the flow."""
        return (read_flow(definition).flow.name,) if read_state(state)[1] is None else ()

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """The name of the flow: its methods are no steps that a contract could be about."""
        return frozenset({read_flow(definition).flow.name})

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """A flow and a state with an edit applied: see `editing.py`."""
        after = edited(definition, state, edit)
        problems = after.problems
        for problem in self.validate(after.definition, tools=None):
            problems.append(Problem(after.places.get(problem.path, problem.path), problem.message))
        if not problems:
            missing = self.validate_inputs(after.definition, read_state(after.state)[0])
            problems = [Problem(f"inputs.{problem.path}", problem.message) for problem in missing]
        if problems:
            raise InvalidInput("The edit does not fit the flow.", problems)
        return after.definition, after.state

    def json_schema(self) -> JsonObject:
        """The JSON Schema of flows; a crew inside refers to `crew`, an agent to `agent`."""
        flow = json_schema_of(FlowFields)
        method, step = json_schema_of(MethodFields), json_schema_of(EachStepFields)
        method["properties"]["do"] = step["properties"]["action"] = {"$ref": "#/$defs/action"}
        calls = {name: json_schema_of(part) for name, part in ACTIONS.items()}
        calls["crew"]["properties"]["with"] = {"$ref": "#/$defs/crew"}
        calls["each"]["properties"]["do"]["items"] = {"$ref": "#/$defs/each_step"}
        flow["properties"] |= {
            "state": json_schema_of(StateFields),
            "config": json_schema_of(ConfigFields),
            "methods": {"type": "object", "additionalProperties": {"$ref": "#/$defs/method"}, "minProperties": 1},
        }
        parts: dict[str, Any] = {"method": method, "each_step": step, "action": {"anyOf": list(calls.values())}}
        return flow | {"title": f"CrewAI flow ({SCHEMA})", "required": ["name", "methods"], "$defs": parts}


def named_tools(flow: FlowSpec) -> list[tuple[str, str]]:
    """All tools that a flow names, each with its path."""
    found: list[tuple[str, str]] = []
    for _, action in flow.crews():
        agents = [(action.crew.agent_paths[name], agent.tools) for name, agent in action.crew.agents.items()]
        named = agents + [(task.path, task.spec.tools) for task in action.crew.tasks]
        found += [
            (f"{action.place}.{path}.tools[{n}]", tool) for path, names in named for n, tool in enumerate(names or ())
        ]
    return found + [(f"{call.path}.ref", call.name) for _, call in flow.actions() if isinstance(call, ToolCall)]


FLOW: Final = FlowDefinition()
