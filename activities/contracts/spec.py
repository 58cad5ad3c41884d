"""The shape of the sections that a definition may have beside its framework's own keys.

These models are published in the JSON Schema of every framework, so every field says what it is for. What a shape cannot
express (a name that is no step, a condition that cannot be read) is judged in `problems.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator

FailureType = Literal["validation_error", "hallucination"]
Severity = Literal["low", "medium", "high", "critical"]
When = Literal["before", "after"]
Decision = Literal["approve", "reject", "edit"]

#: In seconds: ten years. Longer is a mistake in the unit.
MAX_TIMEOUT = 315_360_000.0
#: How long one term of a handoff takes where nothing is said: a minute for programs, a day for people and services.
TERM_SECONDS, SLOW_TERM_SECONDS = 60.0, 86_400.0
MAX_CONDITIONS = 100

_SYNONYMS = ("expression", "expr", "condition", "check")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _any_spelling(schema: dict[str, Any]) -> None:
    """The other names of `expression`, for the published schema."""
    text = schema["properties"]["expression"]
    others = {name: {**text, "title": name.title(), "description": "Same as `expression`."} for name in _SYNONYMS[1:]}
    schema["properties"].update(others)
    schema["required"] = [name for name in schema["required"] if name != "expression"]
    schema["oneOf"] = [{"required": [name]} for name in _SYNONYMS]


class Condition(Part):
    """Something that must be true of a step, and what kind of failure it is if it is not."""

    model_config = ConfigDict(json_schema_extra=_any_spelling)

    expression: str = Field(
        description="CEL over the fields of the state, and `state`, `inputs`, `output`. Also: `expr`, `condition`, "
        "`check`.",
    )
    message: str = Field(default="", description="For people: what is wrong if it does not hold.")
    failure_type: FailureType | None = Field(
        default=None, description="Type of the failure. Left out, that of the entry, else `validation_error`."
    )
    severity: Severity | None = Field(default=None, description="Severity of the failure.")

    @model_validator(mode="before")
    @classmethod
    def _spelling(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "expression" in given:
            return given
        used = next((name for name in _SYNONYMS if name in given), "expression")
        return {"expression" if key == used else key: value for key, value in given.items()}

    def as_written(self) -> JsonValue:
        """The text alone where nothing else is said, as it is shown with a checkpoint."""
        more: dict[str, JsonValue] = self.model_dump(exclude_defaults=True)
        return more if len(more) > 1 else self.expression


def _from_text(given: Any) -> Any:
    return {"expression": given} if isinstance(given, str) else given


Conditions = Annotated[
    list[Annotated[Condition, BeforeValidator(_from_text, json_schema_input_type=str | Condition)]],
    Field(max_length=MAX_CONDITIONS),
]


class _Steps(Part):
    """For which steps an entry is meant."""

    step: str | None = Field(
        default=None, min_length=1, description="Name of the task, agent or node. Left out, every step is meant."
    )
    steps: list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None, min_length=1, description="Several of them, in place of `step`."
    )

    @property
    def names(self) -> tuple[str, ...] | None:
        """The steps that are meant; None for all."""
        if self.step is not None:
            return (self.step,)
        return None if self.steps is None else tuple(self.steps)

    def matches(self, units: tuple[str, ...]) -> bool:
        return self.names is None or not set(self.names).isdisjoint(units)


class _Timed(Part):
    """A limit of time, in one of three spellings."""

    timeout_s: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT, description="In seconds.")
    timeout_ms: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT * 1000, description="In milliseconds.")
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT, description="In seconds, like `timeout_s`.")

    @property
    def seconds(self) -> float | None:
        if self.timeout_ms is not None:
            return self.timeout_ms / 1000
        return self.timeout if self.timeout_s is None else self.timeout_s


class Checkpoint(_Steps):
    """What must be true before a step, and of what it leaves: else it makes no checkpoint and has failed."""

    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="Name of the checkpoint that a step leaves."
    )
    description: str = Field(default="", description="For people.")
    preconditions: Conditions = Field(default=[], description="Must hold before the step begins; `output` is null.")
    postconditions: Conditions = Field(default=[], description="Must hold when the step is done.")
    output_schema: dict[str, JsonValue] | None = Field(
        default=None,
        description="JSON Schema (draft 2020-12) of the step's output. Where it asks for more than text, an output "
        "that is text is read as JSON.",
    )
    failure_type: FailureType = Field(default="validation_error", description="Type of the failure, unless told below.")
    severity: Severity | None = Field(default=None, description="Severity of the failure, unless told below.")


class Approval(_Steps, _Timed):
    """A person is asked before or after a step."""

    name: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[^:\[\]]+$",
        description="Tells several approvals of one step apart. No `:`, `[` or `]`.",
    )
    description: str = Field(default="", description="For people.")
    when: When = Field(default="before", description="Before the step begins, or when it is done.")
    title: str = Field(default="", max_length=200, description="What it is about, in a few words.")
    question: JsonValue = Field(
        default=None, description="What the person is shown: a Liquid template, or JSON with templates in its texts."
    )
    condition: str | None = Field(default=None, min_length=1, description="CEL: the person is asked only if it holds.")
    assignee: str | None = Field(default=None, min_length=1, max_length=255, description="Who is asked.")
    on_timeout: Decision | None = Field(
        default=None, description="The answer if none came in time. Left out, it is `reject`."
    )
    default_value: JsonValue = Field(default=None, description="The value that `on_timeout: edit` answers with.")


class AgentVoter(Part):
    """Votes by its pre-conditions: these, and those of the `checkpoints` entries for it."""

    agent: str = Field(min_length=1, max_length=200)
    preconditions: Conditions = []


class ValidatorVoter(Part):
    """A model that is asked whether it accepts, and why."""

    validator: str = Field(min_length=1, max_length=200, description="A name for it.")
    prompt: str = Field(min_length=1, description="Liquid template: what to look at, and what to look for.")
    model: str | None = Field(default=None, min_length=1, description="Left out, the platform's default model.")


class PersonVoter(Part):
    person: str = Field(min_length=1, max_length=200, description="Who acknowledges over the API.")


class ServiceVoter(Part):
    service: str = Field(min_length=1, max_length=200, description="What acknowledges, by API or signal.")


VOTER_KINDS: tuple[Literal["agent", "validator", "person", "service"], ...] = (
    "agent",
    "validator",
    "person",
    "service",
)


def _kind(given: Any) -> str | None:
    if isinstance(given, str):
        return "agent"
    if isinstance(given, Mapping):
        return next((kind for kind in VOTER_KINDS if kind in given), None)
    return next((kind for kind in VOTER_KINDS if hasattr(given, kind)), None)


def _agent(given: Any) -> Any:
    return {"agent": given} if isinstance(given, str) else given


AnyVoter = Annotated[
    Annotated[AgentVoter, BeforeValidator(_agent, json_schema_input_type=str | AgentVoter), Tag("agent")]
    | Annotated[ValidatorVoter, Tag("validator")]
    | Annotated[PersonVoter, Tag("person")]
    | Annotated[ServiceVoter, Tag("service")],
    Discriminator(
        _kind,
        custom_error_type="no_voter",
        custom_error_message="Must be an agent's name, or an object with `agent`, `validator`, `person` or `service`.",
    ),
]


class Handoff(_Timed):
    """A step may begin only when a quorum of voters accepts what it is handed."""

    name: str | None = Field(default=None, min_length=1, max_length=200, description="For people.")
    description: str = Field(default="", description="For people.")
    sender: str | None = Field(
        default=None, alias="from", min_length=1, description="Who hands over. Left out, whoever ran before."
    )
    to: str = Field(min_length=1, description="Name of the task, agent or node that is handed to.")
    voters: list[AnyVoter] | None = Field(
        default=None, min_length=1, max_length=100, description="Who decides. Left out, the receiving agent."
    )
    quorum: Literal["majority", "all", "any"] | Annotated[int, Field(ge=1)] = Field(
        default="majority", description="How many voters must accept."
    )
    max_terms: int = Field(default=3, ge=1, le=100, description="How often a vote is tried before it has failed.")

    @property
    def all_voters(self) -> list[AgentVoter | ValidatorVoter | PersonVoter | ServiceVoter]:
        return self.voters or [AgentVoter(agent=self.to)]

    @property
    def term_seconds(self) -> float:
        """How long one term may take."""
        slow = any(isinstance(voter, (PersonVoter, ServiceVoter)) for voter in self.all_voters)
        return self.seconds or (SLOW_TERM_SECONDS if slow else TERM_SECONDS)


def voter_name(voter: AgentVoter | ValidatorVoter | PersonVoter | ServiceVoter) -> tuple[str, str]:
    """The name of a voter, and its kind."""
    return next((getattr(voter, kind), kind) for kind in VOTER_KINDS if hasattr(voter, kind))
