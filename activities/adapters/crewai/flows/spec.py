"""A flow as read: its methods, when they run, and what they do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from activities.adapters.base import Json, JsonObject
from activities.adapters.crewai.flows.schema import DEFAULT_METHOD_CALLS
from activities.adapters.crewai.reading import CrewSpec

#: An event, or `{"and": [...]}` or `{"or": [...]}` of conditions.
Condition: TypeAlias = str | dict[str, Any]

#: The name of the only task under which the agent of an `agent` call is read as a crew.
INPUT_TASK = "input"


@dataclass(frozen=True)
class ExpressionCall:
    """`expr` is CEL."""

    path: str
    expr: str


@dataclass(frozen=True)
class CrewCall:
    """A crew as read from `definition`, which stands at `place` in the flow; `inputs` are templates."""

    path: str
    place: str
    definition: JsonObject
    crew: CrewSpec
    inputs: JsonObject


@dataclass(frozen=True)
class AgentCall:
    """An agent by itself, read as a crew of the agent `name` alone; `input` is a template."""

    path: str
    place: str
    name: str
    definition: JsonObject
    crew: CrewSpec
    input: Json


@dataclass(frozen=True)
class ToolCall:
    """`arguments` are templates."""

    path: str
    name: str
    arguments: JsonObject


@dataclass(frozen=True)
class EachStep:
    path: str
    name: str
    condition: str | None
    action: Action


@dataclass(frozen=True)
class EachCall:
    """`items` is CEL and gives a list."""

    path: str
    items: str
    steps: tuple[EachStep, ...]


Action: TypeAlias = ExpressionCall | CrewCall | AgentCall | ToolCall | EachCall


@dataclass(frozen=True)
class Method:
    name: str
    action: Action | None
    start: bool | Condition
    listen: Condition | None
    router: bool
    emit: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"methods.{self.name}"


@dataclass
class FlowSpec:
    """A flow as read. `defaults` and `schema` are those of its state."""

    name: str = "flow"
    methods: dict[str, Method] = field(default_factory=dict)
    defaults: JsonObject = field(default_factory=dict)
    schema: JsonObject | None = None
    max_method_calls: int = DEFAULT_METHOD_CALLS

    def actions(self) -> Iterator[tuple[Method, Action]]:
        """All actions with their methods, those inside an `each` too, in reading order."""
        for method in self.methods.values():
            if method.action is not None:
                yield method, method.action
            if isinstance(method.action, EachCall):
                yield from ((method, step.action) for step in method.action.steps)

    def crews(self) -> Iterator[tuple[Method, CrewCall | AgentCall]]:
        """The actions that ask models."""
        for method, action in self.actions():
            if isinstance(action, CrewCall | AgentCall):
                yield method, action


def events_of(condition: Condition) -> Iterator[tuple[str, str]]:
    """The events that a condition names, each with its path inside the condition."""
    if isinstance(condition, str):
        yield "", condition
        return
    for operator, branches in condition.items():
        for index, branch in enumerate(branches):
            yield from ((f".{operator}[{index}]{path}", event) for path, event in events_of(branch))
