"""The fields of a definition, in Semantic Kernel's own names, and what is refused or left out of it. Pure.

The models hold the fields that have an effect. `REFUSED` holds those that would run code, reach around the gateway or need
another service; `LEFT_OUT` those that are accepted and ignored.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from activities.adapters.base import JsonObject

#: What an agent may be called: its name is part of requests and of the names of functions.
AGENT_NAME: Final = r"^[0-9A-Za-z_-]+$"
#: What a prompt function may be called: later templates use its name as a variable.
FUNCTION_NAME: Final = r"^[0-9A-Za-z_]+$"

#: Where no limit is given for a group chat.
DEFAULT_ROUNDS: Final = 10

_CODE: Final = "would run code, and code inside a definition is never executed; name registered tools under `tools`"
_GATEWAY: Final = "is set by the operator: every model call goes through the platform's gateway; remove it"
_OUTSIDE: Final = "reaches services past the gateway, which a definition cannot do; remove it"


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Options(Part):
    """Parameters of a model call (`model.options` of an agent, `execution_settings` of a function)."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = None
    stop: list[str] | str | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    reasoning_effort: Literal["low", "medium", "high"] | None = None
    response_format: JsonObject | Literal["text", "json_object"] | None = None
    parallel_tool_calls: bool | None = None


class ModelFields(Part):
    """A model and its parameters. The name goes to the endpoint exactly as it is written."""

    id: str | None = Field(default=None, min_length=1)
    api: Literal["chat"] = "chat"
    options: Options = Field(default_factory=Options)


class WithModel(Part):
    """What names a model; without one it is the run's default model."""

    model: str | ModelFields | None = None

    @property
    def chosen_model(self) -> ModelFields:
        """The model with its parameters, however it was written."""
        return self.model if isinstance(self.model, ModelFields) else ModelFields(id=self.model or None)


class InputFields(Part):
    """An input that instructions may use as `{{$name}}`."""

    description: str | None = None
    required: bool = False
    default: Any = None
    type: str | None = None


class FunctionChoice(Part):
    """How an agent may call its tools."""

    type: Literal["auto", "required", "none"] = "auto"
    maximum_auto_invoke_attempts: int | None = Field(default=None, ge=1, le=100)


class AgentFields(WithModel):
    """One agent: a declarative `chat_completion_agent`, or a person (`human`)."""

    type: str | None = None
    name: str = Field(pattern=AGENT_NAME)
    description: str | None = None
    instructions: str | None = None
    template_format: Literal["semantic-kernel", "handlebars", "liquid"] = "semantic-kernel"
    inputs: dict[str, InputFields] = Field(default_factory=dict)
    function_choice_behavior: Literal["auto", "required", "none"] | FunctionChoice | None = None


class VariableFields(Part):
    """A variable of a prompt function's template."""

    name: str = Field(pattern=FUNCTION_NAME)
    description: str | None = None
    default: Any = None
    is_required: bool = True
    json_schema: Any = None
    allow_dangerously_set_content: bool = False


class FunctionFields(WithModel):
    """One prompt function: a template, and the model call that it makes."""

    name: str = Field(pattern=FUNCTION_NAME)
    description: str | None = None
    template: str = Field(min_length=1)
    template_format: Literal["semantic-kernel", "handlebars", "liquid"] = "semantic-kernel"
    input_variables: list[VariableFields] = Field(default_factory=list)
    #: Templates fill in what they are given as text; with this, as markup of a chat prompt.
    allow_dangerously_set_content: bool = False


class ManagerFields(WithModel):
    """Who leads: the next in turn, or a model that is asked who speaks next (`prompt`)."""

    type: Literal["round_robin", "prompt"] = "round_robin"
    #: Instructions of the model that chooses the next speaker, and of the one that says whether the chat is over.
    selection_prompt: str | None = Field(default=None, min_length=1)
    termination_prompt: str | None = Field(default=None, min_length=1)


class MagenticFields(WithModel):
    """The manager of a Magentic team."""

    max_round_count: int = Field(default=20, ge=1)
    max_stall_count: int = Field(default=3, ge=0)
    max_reset_count: int | None = Field(default=None, ge=0)


class HandoffFields(Part):
    """One way that a conversation may go: the agent `from` may hand it to the agent `to`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    source: str = Field(alias="from")
    to: str
    description: str = ""


class Members(Part):
    """Which agents take part, in which order; all of them where nothing is said."""

    members: list[str] | None = Field(default=None, min_length=1)


class Sequential(Members):
    """One agent after the other; each is given what the one before it said."""

    type: Literal["sequential"] = "sequential"


class Concurrent(Members):
    """All agents at once, each with the task alone."""

    type: Literal["concurrent"] = "concurrent"


class GroupChat(Members):
    """Agents that hear each other, `max_rounds` turns in all."""

    type: Literal["group_chat"] = "group_chat"
    max_rounds: int | None = Field(default=None, ge=1, le=1000)
    manager: ManagerFields = Field(default_factory=ManagerFields)
    #: Whether a person is asked after every turn, or after the turns of the agents that are named.
    human: StrictBool | list[str] = False


class Handoff(Members):
    """Agents that hand the conversation to each other, until one completes the task."""

    type: Literal["handoff"] = "handoff"
    start: str | None = None
    handoffs: list[HandoffFields] = Field(min_length=1)
    #: Whether a person answers an agent that neither hands over nor completes the task.
    human: StrictBool = False
    max_turns: int | None = Field(default=None, ge=1, le=1000)


class Magentic(Members):
    """A team led by Semantic Kernel's Magentic manager."""

    type: Literal["magentic"] = "magentic"
    manager: MagenticFields = Field(default_factory=MagenticFields)


Orchestration = Sequential | Concurrent | GroupChat | Handoff | Magentic

ORCHESTRATIONS: Final[dict[str, type[Orchestration]]] = {
    "sequential": Sequential,
    "concurrent": Concurrent,
    "group_chat": GroupChat,
    "handoff": Handoff,
    "magentic": Magentic,
}

REFUSED: Final[dict[type[Part], dict[str, str]]] = {
    AgentFields: {
        **dict.fromkeys(("kernel", "service"), _GATEWAY),
        "plugins": _CODE,
    },
    FunctionFields: {"plugins": _CODE},
    ModelFields: dict.fromkeys(("base_url", "api_key", "endpoint"), _GATEWAY),
    Options: {
        **dict.fromkeys(("base_url", "api_key", "endpoint", "extra_headers"), _GATEWAY),
        "extra_body": _OUTSIDE,
        "number_of_responses": "is not supported: a turn has one answer; remove it",
    },
}

#: None where nobody misses the field, else what to tell the user.
LEFT_OUT: Final[dict[type[Part], dict[str, str | None]]] = {
    AgentFields: {**dict.fromkeys(("id", "outputs", "extras", "metadata", "version")), "tools": None},
    FunctionFields: {**dict.fromkeys(("id", "output_variable", "version", "plugin_name")), "tools": None},
    ModelFields: {"connection": "the connection is left out: every model call goes through the platform's gateway"},
    Options: dict.fromkeys(("service_id", "extension_data", "stream", "store", "metadata")),
    InputFields: dict.fromkeys(("is_required", "sample", "strict")),
}
