"""The shape of AutoGen's component JSON: which components are allowed, and the fields of each that have an effect.

Pure: no AutoGen here. A `provider` in a definition is never imported: its last part chooses one of the classes listed here,
and the adapter builds that class itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from activities.adapters.base import JsonObject

#: AutoGen takes Python identifiers alone for the names of agents.
Identifier = Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*$", max_length=100)]
Turns = Annotated[int, Field(ge=1, le=1_000_000)]

AGENTS: Final = ("AssistantAgent", "UserProxyAgent")
TEAMS: Final = ("RoundRobinGroupChat", "SelectorGroupChat", "Swarm", "GraphFlow", "MagenticOneGroupChat")
#: All of them call the platform's endpoint, by the name of the model.
MODELS: Final = (
    "OpenAIChatCompletionClient",
    "AzureOpenAIChatCompletionClient",
    "OllamaChatCompletionClient",
    "AnthropicChatCompletionClient",
    "AzureAIChatCompletionClient",
)
TOOLS: Final = ("FunctionTool",)
WORKBENCHES: Final = ("StaticWorkbench", "StaticStreamWorkbench")
FACTORIES: Final = ("StructuredMessageFactory",)

#: Other names under which AutoGen knows a provider.
ALIASES: Final = {
    "openai_chat_completion_client": "OpenAIChatCompletionClient",
    "azure_openai_chat_completion_client": "AzureOpenAIChatCompletionClient",
}
#: Packages that the part before a provider's class may belong to.
PACKAGES: Final = ("autogen_agentchat", "autogen_core", "autogen_ext")

#: The placeholders of the texts that AutoGen formats.
SELECTOR_FIELDS: Final = frozenset({"roles", "participants", "history"})
SUMMARY_FIELDS: Final = frozenset({"tool_name", "arguments", "result", "is_error"})


class Part(BaseModel):
    """Fields that are not listed have no effect; reading warns of them."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ModelInfo(Part):
    """What a model can do, where its name does not tell."""

    vision: bool = False
    function_calling: bool = True
    json_output: bool = True
    family: str = "unknown"
    structured_output: bool = True
    multiple_system_messages: bool | None = None


class ModelConfig(Part):
    """A model's name, exactly as it goes to the endpoint, and its parameters."""

    model: str | None = None
    model_info: ModelInfo | None = None
    add_name_prefixes: bool | None = None
    include_name_in_message: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, int] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    presence_penalty: float | None = None
    response_format: JsonObject | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None


#: The fields of a model that travel with each of its calls.
CREATE_ARGUMENTS: Final = frozenset(ModelConfig.model_fields) - {
    "model",
    "model_info",
    "add_name_prefixes",
    "include_name_in_message",
}


class Handoff(Part):
    """A way to pass the conversation on; the model sees it as a tool."""

    target: str = Field(min_length=1)
    description: str = ""
    name: str = ""
    message: str = ""


class StructuredOutput(Part):
    """The JSON Schema that an agent's answers follow."""

    json_schema: JsonObject
    format_string: str | None = None
    content_model_name: Identifier = "Answer"


class AssistantConfig(Part):
    name: Identifier
    model_client: Any = None
    tools: list[Any] | None = None
    workbench: Any = None
    handoffs: list[Annotated[str, Field(min_length=1)] | Handoff] | None = None
    model_context: Any = None
    description: str | None = None
    system_message: str | None = None
    model_client_stream: bool = False
    reflect_on_tool_use: bool | None = None
    max_tool_iterations: Turns = 1
    tool_call_summary_format: str = "{result}"
    structured_message_factory: Any = None
    metadata: dict[str, str] | None = None


class UserProxyConfig(Part):
    """A person: the run asks whoever answers approvals, and waits."""

    name: Identifier
    description: str = "A human user"


class TeamConfig(Part):
    name: str | None = None
    description: str | None = None
    participants: list[Any] = Field(min_length=1)
    termination_condition: Any = None
    max_turns: Turns | None = None


class SelectorConfig(TeamConfig):
    model_client: Any = None
    selector_prompt: str | None = None
    allow_repeated_speaker: bool = False
    max_selector_attempts: Turns = 3
    model_client_streaming: bool = False
    model_context: Any = None


class Edge(Part):
    """A condition is a text that the last message must contain."""

    target: str
    condition: str | None = None
    activation_group: str = ""
    activation_condition: Literal["all", "any"] = "all"

    @property
    def group(self) -> str:
        return self.activation_group or self.target


class Node(Part):
    name: str
    edges: list[Edge] = Field(default_factory=list)
    activation: Literal["all", "any"] = "all"


class Graph(Part):
    nodes: dict[str, Node] = Field(min_length=1)
    default_start_node: str | None = None


class GraphConfig(TeamConfig):
    graph: Graph


class MagenticConfig(TeamConfig):
    model_client: Any = None
    max_stalls: int = Field(default=3, ge=0)
    final_answer_prompt: str | None = None
    max_turns: Turns | None = 20


TEAM_CONFIGS: Final[dict[str, type[TeamConfig]]] = {
    "RoundRobinGroupChat": TeamConfig,
    "SelectorGroupChat": SelectorConfig,
    "Swarm": TeamConfig,
    "GraphFlow": GraphConfig,
    "MagenticOneGroupChat": MagenticConfig,
}


#: Fields that have no effect here, with what people are told; None says nothing.
LEFT_OUT: Final[dict[str, str | None]] = {
    "memory": "memory is left out: agents see their conversation, and remember nothing between runs",
    "base_url": "base_url is left out: every model call goes through the platform's gateway",
    "azure_endpoint": "azure_endpoint is left out: every model call goes through the platform's gateway",
    "default_headers": "default_headers are left out: every model call goes through the platform's gateway",
    "model_capabilities": "model_capabilities is left out: say it in model_info",
    "n": "n is left out: AutoGen reads one answer alone",
    "input_func": "input_func is left out: the run asks a person through an approval",
    "tool_schema": None,
    "api_key": None,
    "organization": None,
    "timeout": None,
    "max_retries": None,
    "stream_options": None,
    "azure_deployment": None,
    "api_version": None,
    "azure_ad_token": None,
    "azure_ad_token_provider": None,
    "emit_team_events": None,
    "condition_function": None,
    # the shape of AutoGen Studio's first exports
    "agent_type": None,
    "team_type": None,
    "model_type": None,
    "termination_type": None,
    "tool_type": None,
    "model_client": None,
    "version": None,
    "component_type": None,
}
