"""The shape of a flow: its agents, its steps, and what is said of them.

These models are the published JSON Schema. What a shape cannot express (a step that waits for itself) is judged in
`checks.py`; what an agent's `config` holds is judged by its own framework.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt, StrictStr

#: Names that paths and conditions have for themselves.
RESERVED = frozenset({"inputs", "steps", "state", "output", "flow"})

StepId = (
    StrictInt
    | Annotated[StrictStr, Field(min_length=1, max_length=100, pattern=r"^[^\s.\[\]/](?:[^.\[\]/]*[^\s.\[\]/])?$")]
)
#: A name that a path can begin with.
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s.\[\]{}]+$")]
#: `name`, `name.field`, `name.list[0].field`.
Path = Annotated[str, Field(min_length=1, max_length=500)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AgentPart(Part):
    """One agent: a definition of its framework."""

    id: Name = Field(description="What steps call it.")
    name: str | None = Field(default=None, max_length=200, description="What people call it. Left out, its id.")
    framework: str = Field(description="crewai, langgraph, autogen, semantic_kernel or external.")
    config: dict[str, Any] = Field(
        description="A definition of that framework, as it would be registered by itself. For crewai also one agent "
        "(role, goal, backstory, llm, tools): its task is the step's. May hold `checkpoints`, `approvals`, `handoffs` and `recovery_policies`."
    )
    description: str = Field(default="", description="For people.")
    version: str | int | None = Field(default=None, description="For people.")


class SourcePart(Part):
    """Where one input comes from: a path, a path with a value where there is none, or a value."""

    source: Path | None = Field(default=None, alias="from", description="Path of the value.")
    default: JsonValue = Field(default=None, description="What is taken where the path leads nowhere.")
    value: JsonValue = Field(default=None, description="Instead of `from`: the value itself.")


class StepPart(Part):
    """One step of a flow: an agent, what it is given, and what is kept of what it makes."""

    step: StepId | None = Field(default=None, description="Its id. Left out, its position, counted from 1.")
    agent: str = Field(description="Id of the agent.")
    name: str | None = Field(
        default=None, max_length=200, description="What people call it. Left out, the agent's name."
    )
    description: str = Field(default="", description="For people; the task of a crewai agent that has no `task`.")
    task: str | None = Field(
        default=None,
        min_length=1,
        description="Liquid template of what the agent is asked, over the inputs of the step: its input `task`.",
    )
    expected_output: str | None = Field(default=None, min_length=1, description="Of the task of one crewai agent.")
    inputs: list[Path] | dict[Name, Path | SourcePart] | None = Field(
        default=None,
        description="What the agent is given: paths, each under its last part, or names with paths. Left out, it is "
        "given the run's inputs and all named outputs of the steps before it.",
    )
    outputs: list[Name] | dict[Name, Path] | Name | None = Field(
        default=None,
        description="What is kept of the agent's outputs by name: names, or names with paths into the outputs. Left "
        "out, the result is kept under the agent's id.",
    )
    depends_on: list[StepId] | StepId | None = Field(
        default=None,
        description="Steps that must have ended before. When no step has it, each step waits for the one before it.",
    )
    when: str | None = Field(
        default=None,
        min_length=1,
        description="CEL condition over the run's inputs and the named outputs; the step is skipped when it does not "
        "hold. A step is also skipped when all steps that it waits for were.",
    )
    checkpoints: list[str | dict[str, Any]] | None = Field(
        default=None,
        description="Checkpoints of the step: names of entries in `checkpoints` of the agent or of the flow, entries, or "
        "new names for the checkpoint that the step leaves.",
    )
    preconditions: list[Any] | None = Field(default=None, description="Conditions that hold before the step begins.")
    postconditions: list[Any] | None = Field(default=None, description="Conditions that hold when the step is done.")
    output_schema: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of the step's named outputs, one object."
    )
    approval: bool | dict[str, Any] | None = Field(
        default=None, description="Whether a person is asked, before the step or after it: an entry of `approvals`."
    )
    consensus_required: bool | None = Field(
        default=None, description="Whether the handoff to the step is voted on; left out, with `consensus` it is."
    )
    consensus: dict[str, Any] | None = Field(
        default=None,
        description="How it is voted on: `voters`, `quorum`, `timeout_s`, `max_terms`. Without voters the step's agent "
        "votes, by the pre-conditions.",
    )


class FlowPart(Part):
    """A whole flow."""

    name: str | None = Field(default=None, description="For people.")
    description: str = Field(default="", description="For people.")
    version: str | int | None = Field(default=None, description="For people.")
    agents: list[AgentPart] = Field(min_length=1, description="The agents.")
    flow: list[StepPart] = Field(min_length=1, description="The steps.")
    max_steps: int | None = Field(
        default=None, ge=1, le=100_000, description="Longest run, in steps of agents. Left out, the platform's limit."
    )
    policies: Any = Field(default=None, description="What is done about failures.")
    checkpoints: Any = Field(
        default=None, description="Conditions and schemas of steps, by name or for what they name."
    )
    approvals: Any = Field(default=None, description="Questions to people, for the steps that they name.")
    handoffs: Any = Field(default=None, description="Votes on handoffs, for the steps that they name.")
