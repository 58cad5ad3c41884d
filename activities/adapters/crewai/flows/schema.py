"""The shape of a flow as JSON, in the field names of CrewAI's `crewai.flow/v1`, and what is refused or left out of it. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from activities.adapters.base import JsonObject
from activities.adapters.crewai.schema import Part

SCHEMA: Final = "crewai.flow/v1"
#: How often one method may run where `config.max_method_calls` does not say it; CrewAI's own number.
DEFAULT_METHOD_CALLS: Final = 100
MOST_METHOD_CALLS: Final = 1_000

#: The actions whose steps run code of the definition or of the worker's machine.
CODE_CALLS: Final = ("code", "script")
CODE: Final = (
    "This runs Python code, and code inside a definition is never executed; the calls of a flow are crew, agent, tool, "
    "expression and each."
)
_CODE: Final = "would run code, and code inside a definition is never executed; remove it"
_PERSISTENCE: Final = "is not supported: the platform keeps the state of a run; remove it"


class FlowFields(Part):
    """The fields of a flow beside its state, configuration and methods, which are read on their own."""

    schema_: Literal["crewai.flow/v1"] = Field(default=SCHEMA, alias="schema")
    name: str = Field(min_length=1, max_length=200)
    description: str | None = None


class StateFields(Part):
    """What the state holds at the start, under the run's inputs."""

    type: Literal["dict", "json_schema", "pydantic", "unknown"]
    json_schema: JsonObject | None = None
    default: JsonObject | None = None


class ConfigFields(Part):
    #: How often one method may run in one run of the flow.
    max_method_calls: int = Field(default=DEFAULT_METHOD_CALLS, ge=1, le=MOST_METHOD_CALLS)


class MethodFields(Part):
    """One method: its action, and when it runs. A condition is an event, or `{"and": [...]}` or `{"or": [...]}` of some."""

    description: str | None = None
    do: JsonObject
    start: bool | str | JsonObject | None = None
    listen: str | JsonObject | None = None
    #: Whether the method's output is the name of the event that comes next.
    router: bool = False
    emit: list[str] | None = None


class ExpressionFields(Part):
    """Gives what a CEL expression over `state` and `outputs` gives."""

    call: Literal["expression"]
    expr: str = Field(min_length=1)


class CrewCallFields(Part):
    """Runs a crew that is written out here; `inputs` are templates that fill its placeholders."""

    call: Literal["crew"]
    with_: JsonObject = Field(alias="with")
    inputs: JsonObject | None = None


class AgentCallFields(Part):
    """Asks one agent, whose `input` is a template: a text, or a list of messages."""

    call: Literal["agent"]
    with_: JsonObject = Field(alias="with")


class ToolCallFields(Part):
    """Calls a registered tool by its name; the arguments are templates."""

    call: Literal["tool"]
    ref: str = Field(min_length=1)
    with_: JsonObject | None = Field(default=None, alias="with")


class EachFields(Part):
    """Runs steps for every item of a list, in order."""

    call: Literal["each"]
    in_: str = Field(alias="in", min_length=1)
    do: list[JsonObject] = Field(min_length=1)


class EachStepFields(Part):
    name: str = Field(min_length=1)
    if_: str | None = Field(default=None, alias="if")
    action: JsonObject


ACTIONS: Final[dict[str, type[Part]]] = {
    "expression": ExpressionFields,
    "crew": CrewCallFields,
    "agent": AgentCallFields,
    "tool": ToolCallFields,
    "each": EachFields,
}

REFUSED: Final[dict[type[Part], dict[str, str]]] = {
    FlowFields: {
        "persist": _PERSISTENCE,
        "conversational": "is not supported: a run gets its inputs once, and no messages later; remove it",
    },
    StateFields: {"ref": f"{_CODE}, or give a json_schema"},
    ConfigFields: {"input_provider": _CODE},
    MethodFields: {
        "persist": _PERSISTENCE,
        "human_feedback": "is not supported, as a flow is one step without a pause inside; ask a person in a workflow of the "
        "framework 'flow', or in a crew with human_input",
    },
    CrewCallFields: {"from_declaration": "reads files of the machine it runs on; write the crew out under `with`"},
}

LEFT_OUT: Final[dict[type[Part], dict[str, str | None]]] = {
    ConfigFields: {
        **dict.fromkeys(("tracing", "stream", "suppress_flow_events", "defer_trace_finalization", "checkpoint")),
        "memory": "memory is left out: nothing is remembered between runs",
    },
}


def json_schema_of(part: type[Part]) -> dict[str, Any]:
    """A part's schema with the fields that are accepted and left out."""
    schema: dict[str, Any] = part.model_json_schema(by_alias=True)
    notes = {
        name: {"description": note or "Accepted, without effect."} for name, note in LEFT_OUT.get(part, {}).items()
    }
    schema["properties"] |= notes
    return schema
