"""The pure half of the CrewAI adapter: crews, a task at a time, and flows, as one step. CrewAI is not imported."""

from __future__ import annotations

from typing import Any, Final

from activities.adapters.base import Edit, FrameworkDefinition, JsonObject, Plan
from activities.adapters.crewai.crews import CREW
from activities.adapters.crewai.flows.definition import FLOW, is_flow
from activities.adapters.crewai.flows.states import is_state_of_flow
from omium_core.errors import Problem


class CrewAIDefinition:
    """Implements `FrameworkDefinition`: each definition and each state is a crew's or a flow's."""

    name = "crewai"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems, with their paths."""
        return _kind_of(definition).validate(definition, tools=tools)

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Inputs that are missing or do not fit; the path is the input's name."""
        return _kind_of(definition).validate_inputs(definition, inputs)

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """One step per task of a crew, or one for a whole flow, which says so in a warning."""
        return _kind_of(definition).plan(definition, inputs)

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Only for tools that are not known here."""
        return _kind_of(definition).needs_worker(definition, tools=tools)

    def view(self, state: JsonObject) -> JsonObject:
        """The inputs and the outputs so far."""
        return _kind_of_state(state).view(state)

    def values(self, state: JsonObject) -> JsonObject:
        """The outputs of tasks or methods by their names."""
        return _kind_of_state(state).values(state)

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The names of the next step's tasks and agents, or of the flow."""
        return _kind_of(definition).units(definition, state)

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """All names that `units` may give."""
        return _kind_of(definition).unit_names(definition)

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """A definition and a state with an edit applied."""
        return _kind_of(definition).edit(definition, state, edit)

    def json_schema(self) -> JsonObject:
        """The JSON Schema of crews and flows."""
        crew, flow = CREW.json_schema(), FLOW.json_schema()
        shared: dict[str, Any] = {**crew.pop("$defs"), **flow.pop("$defs")}
        draft = crew.pop("$schema")
        return {
            "$schema": draft,
            "title": "CrewAI crew or flow",
            "anyOf": [{"$ref": "#/$defs/crew"}, {"$ref": "#/$defs/flow"}],
            "$defs": {**shared, "crew": crew, "flow": flow},
        }


def _kind_of(definition: JsonObject) -> FrameworkDefinition:
    return FLOW if is_flow(definition) else CREW


def _kind_of_state(state: JsonObject) -> FrameworkDefinition:
    return FLOW if is_state_of_flow(state) else CREW


DEFINITION: Final = CrewAIDefinition()
