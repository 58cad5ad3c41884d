"""The shape of a definition: nodes, edges and state of a graph in JSON, or the entry point of a graph in code.

These models are the published JSON Schema, so every field says what it is for. What a shape cannot express (an edge to
nowhere, a cycle without an exit) is judged in `checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

FieldType = Literal["string", "number", "integer", "boolean", "array", "object", "any"]
Reducer = Literal["replace", "append", "merge", "add"]

#: Other names that people write for the types.
TYPE_ALIASES: dict[str, FieldType] = {
    "str": "string",
    "text": "string",
    "float": "number",
    "int": "integer",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
    "json": "any",
}

START = "START"
END = "END"
_ENDPOINTS = {"START": START, "__start__": START, "END": END, "__end__": END}

#: Names that templates and conditions already have, or cannot read.
RESERVED_FIELDS = frozenset(
    {"inputs", "item", "index", "state", "true", "false", "null", "nil", "in", "empty", "blank", "forloop"}
)


def endpoint(name: str) -> str:
    """`START` and `END` for both spellings of them, every other name as it is."""
    return _ENDPOINTS.get(name, name)


def _known_type(value: object) -> object:
    return TYPE_ALIASES.get(value, value) if isinstance(value, str) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StateField(_Part):
    """One field of the state: what it holds, and how a new value meets the old one."""

    type: Annotated[FieldType | None, BeforeValidator(_known_type)] = Field(
        default=None,
        description="What the field holds. Left out, it follows from the reducer: append: array, merge: object, "
        "add: number, replace: any. `list`, `dict`, `str`, `int`, `float`, `bool` are understood too.",
    )
    reducer: Reducer = Field(
        default="replace",
        description="How a written value meets the present one. `replace`: it takes its place; two nodes of one step "
        "may not both write. `append`: it is added to the array (an array is added item by item). `merge`: its keys are "
        "laid over the object's. `add`: it is added to the number.",
    )
    default: JsonValue = Field(
        default=None,
        description="Value before the first step. Left out, it is the empty value of the type: an empty text, 0, "
        "false, an empty array or object; null for `any`. An input with the field's name takes its place.",
    )
    description: str = Field(default="", description="For people.")

    @property
    def kind(self) -> FieldType:
        """The type, where need be from the reducer."""
        by_reducer: dict[Reducer, FieldType] = {"append": "array", "merge": "object", "add": "number", "replace": "any"}
        return self.type or by_reducer[self.reducer]


class _Node(_Part):
    id: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f:|]+$",
        description="Name of the node, as edges and people use it. Not START or END, nothing that begins with `__`, "
        "no `:` or `|`.",
    )
    description: str = Field(default="", description="For people.")


class LlmNode(_Node):
    """Asks a model once, or several times where it calls tools, and writes the answer into a state field."""

    type: Literal["llm"]
    prompt: str = Field(min_length=1, description="Liquid template of the user's message.")
    system: str | None = Field(default=None, description="Liquid template of the system message.")
    model: str | None = Field(default=None, description="Name of the model. Left out, the platform's default model.")
    output: str = Field(
        description="State field for the answer. A field that is not text takes the answer read as JSON."
    )
    tools: list[str] = Field(default=[], description="Names of registered tools that the model may call.")
    max_tool_rounds: int = Field(
        default=8, ge=1, le=100, description="How often the model may call tools before it has to answer."
    )
    output_schema: dict[str, JsonValue] | None = Field(
        default=None,
        description="JSON Schema of the answer. The model is asked for JSON; an answer that breaks the schema fails the "
        "step.",
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="Sampling temperature.")
    max_tokens: int | None = Field(default=None, ge=1, description="Longest answer, in tokens.")
    messages: str | None = Field(
        default=None,
        description="State field (array) with earlier messages, `{role, content}`, sent before the prompt. Where it is "
        "also the `output`, the prompt and the answer are appended to it.",
    )


class ToolNode(_Node):
    """Calls a registered tool and writes its result into a state field."""

    type: Literal["tool"]
    tool: str = Field(min_length=1, description="Name of a registered tool.")
    args: dict[str, JsonValue] = Field(
        default={},
        description="Arguments. Every text in it is a Liquid template; one that is a single `{{ value }}` keeps the "
        "value's type.",
    )
    output: str | None = Field(default=None, description="State field for the result. Left out, the result is dropped.")


class TemplateNode(_Node):
    """Fills a template and writes the result into a state field, without asking a model."""

    type: Literal["template"]
    template: JsonValue = Field(
        default=None,
        description="Liquid template, or an array or object with templates in it, for `output`. A text that is a single "
        "`{{ value }}` keeps the value's type.",
    )
    output: str | None = Field(default=None, description="State field for the filled `template`.")
    set: dict[str, JsonValue] = Field(
        default={}, description="Instead of `template` and `output`: state fields, each with its template."
    )


class SubgraphNode(_Node):
    """Runs a whole graph inside one step."""

    type: Literal["subgraph"]
    definition: GraphDefinition = Field(
        validation_alias=AliasChoices("definition", "graph"), description="The graph; `graph` is read as well."
    )
    inputs: dict[str, JsonValue] | None = Field(
        default=None,
        description="Inputs of the inner graph: names with templates. Left out, it gets the inputs of this run and the "
        "fields of the state.",
    )
    outputs: dict[str, str] | None = Field(
        default=None,
        description="Fields of this graph, each with the field of the inner graph that is written into it. Left out: "
        "the fields that both have.",
    )


class ApprovalNode(_Node):
    """Asks a person, and waits for the answer however long it takes."""

    type: Literal["approval"]
    question: str = Field(
        min_length=1,
        description="Liquid template of what the person is asked. One that is a single `{{ value }}` keeps the value's "
        "type, so that an object can be shown whole.",
    )
    output: str | None = Field(
        default=None,
        description="State field for the answer: `{approved, decision, value}` with the decision `approve`, `edit` or "
        "`reject` and the value that came with it; a boolean field takes `approved` alone. Left out, a rejection fails "
        "the run.",
    )


Node = Annotated[LlmNode | ToolNode | TemplateNode | SubgraphNode | ApprovalNode, Field(discriminator="type")]


class Edge(_Part):
    """What follows what."""

    source: str = Field(alias="from", min_length=1, description="Id of a node, or START.")
    to: str = Field(min_length=1, description="Id of a node, or END.")
    when: str | None = Field(
        default=None,
        min_length=1,
        description="CEL condition over the state fields and `inputs`, read after the node ran. Of the edges out of a "
        "node all whose condition holds are taken. An edge without a condition beside ones with a condition is the "
        "`else`: taken when none of them holds.",
    )
    each: str | None = Field(
        default=None,
        min_length=1,
        description="State field (array): the target runs once per item, in parallel. Its templates and the `when` of "
        "this edge see `item` and `index` (from 0).",
    )


class GraphDefinition(_Part):
    """A graph in JSON."""

    nodes: list[Node] = Field(min_length=1, description="The nodes.")
    edges: list[Edge] = Field(
        description="What follows what. Several edges out of one node run their targets in parallel. A node that "
        "several branches lead to in one step runs once. A node without outgoing edges ends its branch."
    )
    state: dict[str, StateField] = Field(default={}, description="Fields of the state, by name.")
    max_steps: int | None = Field(
        default=None, ge=1, le=100_000, description="Longest run, in steps. Left out, the platform's limit."
    )
    description: str = Field(default="", description="For people.")


class RunConfig(_Part):
    """What LangGraph calls the config of a run."""

    configurable: dict[str, JsonValue] = Field(default={}, description="Values that nodes read from their config.")
    tags: list[str] = Field(default=[], description="Tags of the run.")
    metadata: dict[str, JsonValue] = Field(default={}, description="Metadata of the run.")
    max_concurrency: int | None = Field(default=None, ge=1, description="How many nodes may run at once.")


class EntrypointDefinition(_Part):
    """A graph in Python code, of a module that the operator allows."""

    entrypoint: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="`package.module:name` of a StateGraph, a compiled graph, or a function that returns one; the "
        "function takes nothing, or `config`.",
    )
    config: RunConfig = Field(default=RunConfig(), description="Config of every step.")
    context: dict[str, JsonValue] | None = Field(
        default=None, description="Values of the graph's context schema, where it has one."
    )
    max_steps: int | None = Field(
        default=None, ge=1, le=100_000, description="Longest run, in steps. Left out, the platform's limit."
    )
    description: str = Field(default="", description="For people.")


NODE_MODELS: dict[str, type[_Node]] = {
    "llm": LlmNode,
    "tool": ToolNode,
    "template": TemplateNode,
    "subgraph": SubgraphNode,
    "approval": ApprovalNode,
}

AnyNode = LlmNode | ToolNode | TemplateNode | SubgraphNode | ApprovalNode


def is_entrypoint(definition: dict[str, Any]) -> bool:
    """Whether a definition names code. One that has both shapes is judged as code, and its nodes as unknown fields."""
    return "entrypoint" in definition
