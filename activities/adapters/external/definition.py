"""The pure half of external agents: judges definitions, and reads the states of their one step.

A state is `{"inputs": {...}, "result": None | {...}}`; a result is `{"raw": text, "json": data | None, "kickoff_id": id,
"status": the service's word, "tokens": number}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from activities.adapters.base import BadDefinition, Edit, JsonObject, Plan
from activities.adapters.external.spec import ExternalPart, read
from omium_core.errors import InvalidInput, Problem

#: Fields of a result that an edit may replace.
_EDITABLE: Final = ("raw", "json")
ALL: Final = "*"


class ExternalDefinition:
    """Implements `FrameworkDefinition` for agents behind connections; a run has one step."""

    name = "external"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """Whether the connection exists is seen when the step runs: connections come and go."""
        return read(definition)[1]

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        return []

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        part = part_of(definition)
        return Plan(steps=(step_name(part),), agents=(step_name(part),))

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        return False

    def json_schema(self) -> JsonObject:
        schema = ExternalPart.model_json_schema()
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "External agent"}

    def view(self, state: JsonObject) -> JsonObject:
        return state

    def values(self, state: JsonObject) -> JsonObject:
        """The inputs, and with the result `raw`, `json` and `status`."""
        result = state.get("result") or {}
        known = {name: result[name] for name in ("raw", "json", "status") if name in result}
        return {**state["inputs"], **known}

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        return () if state.get("result") is not None else (step_name(part_of(definition)),)

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        part, _ = read(definition)
        return frozenset() if part is None else frozenset({step_name(part)})

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """Inputs and values; prompts and models are the service's own affair."""
        problems = list(_refused(state, edit))
        if problems:
            raise InvalidInput("The edit does not fit the external agent.", problems)
        inputs = {**state["inputs"], **edit.inputs}
        inputs |= {name: value for name, value in edit.values.items() if name in state["inputs"]}
        changed = {name: value for name, value in edit.values.items() if name not in state["inputs"]}
        result = state.get("result")
        return definition, {**state, "inputs": inputs, "result": None if result is None else {**result, **changed}}


def part_of(definition: JsonObject) -> ExternalPart:
    """The definition as read; `BadDefinition` for one that is not valid."""
    part, problems = read(definition)
    if part is None:
        raise BadDefinition(f"{problems[0].path}: {problems[0].message}")
    return part


def step_name(part: ExternalPart) -> str:
    return part.name or part.connection


def _refused(state: JsonObject, edit: Edit) -> Iterator[Problem]:
    for name in edit.prompts:
        yield Problem(f"prompts.{name}", "The prompts of an external agent are kept by its service.")
    for name in edit.models:
        if name != ALL:
            yield Problem(f"models.{name}", "The models of an external agent are chosen by its service.")
    editable: dict[str, Any] = {**state["inputs"], **dict.fromkeys(_EDITABLE if state.get("result") else ())}
    for name in edit.values:
        if name not in editable:
            there = ", ".join(sorted(editable)) or "none"
            yield Problem(f"values.{name}", f"There is no such value; there are: {there}.")


DEFINITION: Final = ExternalDefinition()
