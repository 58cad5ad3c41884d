"""The contract between a run and an agent framework.

A framework is two things to us. Its `Definition` half is pure: it judges and plans a definition without importing the
framework, so the API can use it. Its `Adapter` half runs **one step** at a time: it builds the framework's objects anew,
loads the state it is given, lets the framework do one step, and returns the state as JSON data. Nothing is kept in memory
between steps, so the next step may run in another process, after a crash, or from an edited state.

What each adapter must do is proved by `tests/conformance/`; a new adapter passes it before it is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from omium_core.errors import Problem

#: JSON data: what `json.loads` gives. A state is a JSON object; equal states have equal bytes when dumped with sorted keys.
Json = Any
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it starts.

    `steps` are the names people see, in order. `open_ended` says that only running tells what follows (a graph): then
    `steps` holds the first step alone. `agents` are the names of the agents or nodes, for display.
    """

    steps: tuple[str, ...]
    open_ended: bool = False
    agents: tuple[str, ...] = ()
    #: What the adapter accepts and leaves out, one sentence each, told to the user when the definition arrives.
    warnings: tuple[str, ...] = ()


class FrameworkDefinition(Protocol):
    """The pure half. Never imports the framework, never runs what a definition contains."""

    name: str

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems of a definition, with paths from its root (`nodes[2].tool`).

        `tools` are the names that are registered; None means that they are not known here and a worker is asked.
        """

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Problems of inputs for a valid definition, beyond its `input_schema`; paths from the root of the inputs."""

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """The steps of a valid definition."""

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Whether only a worker can finish the judgement: the definition names code, or a tool not known here."""

    def json_schema(self) -> JsonObject:
        """The JSON Schema of definitions, published under `/api/v1/frameworks/{name}/schema`."""

    def view(self, state: JsonObject) -> JsonObject:
        """A state for people: plain JSON of values and outputs, without the framework's bookkeeping."""

    def values(self, state: JsonObject) -> JsonObject:
        """The fields of a state that conditions may name (`state.score > 3`), as plain JSON.

        A graph's state fields; the outputs of a crew's tasks by their names; the messages of a team as `messages`.
        """

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """The names under which a definition may speak of the step that comes next from `state`: its task, agent, nodes.

        Empty where only running the step tells (a selector that asks a model), and when the run is done.
        """

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """All names that `units` may ever give for this definition, so that a misspelt one is found when it arrives."""

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """A definition and a state with an edit applied; what was given stays as it is.

        Raises `InvalidInput` with paths from the root of the edit (`prompts.writer`, `values.score`, `inputs.topic`) for
        names that are not there and values that do not fit.
        """


@dataclass(frozen=True)
class Edit:
    """What a person or a policy changes when a run goes on from a checkpoint.

    `prompts` maps the name of an agent, task or node to its new prompt: a text for the one that matters most (a task's
    description, an agent's instructions, a node's prompt), or an object of text fields to change several. `models` maps
    such names, or `*` for all, to another model. `values` are laid over the state's fields, as `values()` names them;
    `inputs` over the run's inputs.
    """

    prompts: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    values: JsonObject = field(default_factory=dict)
    inputs: JsonObject = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.prompts or self.models or self.values or self.inputs)


@dataclass(frozen=True)
class Interrupt:
    """A question that a step asks a person before it can be done.

    `id` is the same in every attempt of the step. `question` is what the framework handed over for the person.
    """

    id: str
    question: Json
    title: str = ""


@dataclass(frozen=True)
class Answer:
    """What a person said to an interrupt. `value` is what came with it, None where nothing did."""

    decision: Literal["approve", "reject", "edit"]
    value: Json = None

    @property
    def reply(self) -> Json:
        """What a framework that waits for one value is given: the value, else whether it was approved."""
        return self.value if self.value is not None else self.decision != "reject"


@dataclass(frozen=True)
class ModelEndpoint:
    """The gateway, as one attempt of one step sees it: an OpenAI-compatible base URL that nobody else can guess.

    `default_model` is the model where a definition names none. `api_key` is a placeholder; the gateway adds the real one.
    """

    base_url: str
    api_key: str
    default_model: str


@dataclass(frozen=True)
class ToolSpec:
    """A registered tool as a model sees it: a name, a sentence, and the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: JsonObject


class ToolBox(Protocol):
    """The journaled door to tools. Both calls may be used from any thread and any event loop.

    A call is answered from the journal when this step already made it in an earlier attempt. With `errors_as_answers`
    a tool's failure is itself an answer (text beginning with "Error:"), journaled like one: what an agent was told stays
    told. Without it the failure is raised as `ToolFailed`.
    """

    def specs(self, names: Sequence[str]) -> list[ToolSpec]: ...

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json: ...

    def call_sync(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json: ...


@dataclass(frozen=True)
class ExternalResult:
    """What an agent that runs elsewhere gave. `data` is its structured answer, None where it gave only text."""

    kickoff_id: str
    status: str
    text: str
    data: Json
    tokens: int


class ExternalRuns(Protocol):
    """The durable door to agents that run elsewhere. May be used from any event loop."""

    async def run(
        self,
        connection: str,
        inputs: JsonObject,
        *,
        options: JsonObject,
        harmless: bool,
        progress: Callable[[str], None],
    ) -> ExternalResult:
        """Starts the agent behind a connection (its name or id) if no attempt of this step did, and waits for its end."""


@dataclass
class StepContext:
    """What a step may use. Model calls go to `model`, tool calls to `tools`, agents elsewhere are reached by `external`;
    there is no other way out.
    """

    execution_id: str
    step_index: int
    #: Increases by one with every attempt of the same step, beginning with 1.
    attempt: int
    model: ModelEndpoint
    tools: ToolBox
    #: What people answered to the interrupts of earlier attempts of this step, by the interrupt's id.
    answers: Mapping[str, Answer] = field(default_factory=dict)
    #: Reports that the step is alive and what it is doing, in a few words; cheap, callable from any thread.
    progress: Callable[[str], None] = lambda _note: None
    external: ExternalRuns | None = None


@dataclass
class StepResult:
    """What one step did.

    `state` is the whole state after it. `next_step` is the name of what comes next, or None when the run is done; then
    `outputs` holds the run's result. `unit` is what the step itself produced (for people: the agent's or nodes' output),
    `units` the names of what ran, as `FrameworkDefinition.units` gives them.

    With `interrupts` the step is not done: it waits for answers and is then run again from the state that it began with,
    with `StepContext.answers`; the other fields mean nothing. Its answered calls are in the journal.
    """

    state: JsonObject
    next_step: str | None
    outputs: Json = None
    unit: Json = None
    units: tuple[str, ...] = ()
    interrupts: tuple[Interrupt, ...] = ()


class Adapter(Protocol):
    """The half that loads the framework. One instance per worker process; must hold no state of any run."""

    name: str

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """What only loading can tell: does the entry point exist and compile, are all tools registered?"""

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        """The state before the first step. Holds the inputs."""

    async def first_step(self, definition: JsonObject) -> str:
        """Name of the first step of a definition that had to be loaded to know it."""

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """Does exactly one step. Called at least once per step: everything that costs goes through `context`.

        Raises `BadDefinition` for what a retry cannot mend; other errors are retried. Cancelling the task stops the step.
        """


class ToolFailed(Exception):
    """A tool raised; the message is the tool's own."""


class StepError(Exception):
    """A step that failed for a reason that is known. `failure_type` is one of the types of the `failures` table.

    A `retryable` step may end otherwise when it is tried again with the answers that it has; a `redoable` one when the
    models are asked anew. `severity` is the failure's, where it is known better than from its type.
    """

    failure_type = "agent_error"
    retryable = True
    redoable: bool | None = None
    severity: str | None = None

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadDefinition(StepError):
    """The definition or the state cannot be run; trying again cannot help."""

    failure_type = "validation_error"
    retryable = False


class ModelUnavailable(StepError):
    """The model endpoint did not answer, or answered 429 or 5xx; the message names the endpoint."""

    failure_type = "model_unavailable"


class ModelRejected(StepError):
    """The model endpoint refused a call (400, 401, 404 ...): the same call will be refused again."""

    failure_type = "model_rejected"
    retryable = False


class Unaffordable(StepError):
    """A call cannot be paid for now, so it was not made. Nothing failed: the run waits for `reason`, credits or budget.

    `required` is what the call may cost at most, in millionths of a credit; `budget_id` the budget that does not allow it.
    """

    retryable = False

    def __init__(self, reason: str, required: int, budget_id: str = "") -> None:
        words = {"credits": "The tenant has no credits for this call.", "budget": "A budget does not allow this call."}
        super().__init__(words[reason])
        self.failure_type = reason
        self.required = required
        self.budget_id = budget_id


class StaleAttempt(StepError):
    """A newer attempt of the same step is running: this one must not act any more."""

    failure_type = "stale_attempt"


class StorageUnavailable(StepError):
    """The database or the object store did not answer for long; nothing is wrong with the step."""

    failure_type = "storage_unavailable"


class StepTimedOut(StepError):
    """One attempt of a step took longer than it may."""

    failure_type = "timeout"
