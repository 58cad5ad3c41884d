"""A team as it was read from a definition. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from activities.adapters.autogen import schema
from activities.adapters.autogen.conditions import HandoffTarget, Unbounded

#: How a definition calls the person that agents hand over to, where nothing else does.
USER = "user"


@dataclass(frozen=True)
class Tool:
    """A registered tool by its name, with the path of the name."""

    name: str
    path: str


@dataclass(frozen=True)
class Context:
    """What of its conversation a model sees."""

    kind: str
    fields: Unbounded


@dataclass(frozen=True)
class Condition:
    """A termination condition; `parts` are those of a combination."""

    kind: str
    fields: schema.Part
    parts: tuple[Condition, ...] = ()

    def all(self) -> Iterator[Condition]:
        yield self
        for part in self.parts:
            yield from part.all()


@dataclass(frozen=True)
class AgentSpec:
    """One participant. `config_path` is where its fields are in the definition."""

    name: str
    config_path: str
    config: schema.AssistantConfig | schema.UserProxyConfig
    model: schema.ModelConfig = field(default_factory=schema.ModelConfig)
    tools: tuple[Tool, ...] = ()
    handoffs: tuple[schema.Handoff, ...] = ()
    context: Context | None = None
    output: schema.StructuredOutput | None = None

    @property
    def is_person(self) -> bool:
        return isinstance(self.config, schema.UserProxyConfig)


@dataclass(frozen=True)
class TeamSpec:
    """A team as read. `kind` is its class; a single agent is a team of one with the kind `AssistantAgent`."""

    kind: str
    name: str
    config_path: str
    config: schema.TeamConfig
    participants: tuple[AgentSpec, ...]
    condition: Condition | None = None
    model: schema.ModelConfig | None = None
    context: Context | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(agent.name for agent in self.participants)

    @property
    def graph(self) -> schema.Graph | None:
        return self.config.graph if isinstance(self.config, schema.GraphConfig) else None

    @property
    def is_single(self) -> bool:
        return self.kind == "AssistantAgent"

    @property
    def is_stepped(self) -> bool:
        return self.kind != "MagenticOneGroupChat"

    def agent(self, name: str) -> AgentSpec | None:
        return next((agent for agent in self.participants if agent.name == name), None)

    def conditions(self) -> tuple[Condition, ...]:
        return tuple(self.condition.all()) if self.condition else ()

    @property
    def people(self) -> frozenset[str]:
        """Names outside the team that agents hand over to: a person is asked, and the team goes on with the answer."""
        targets = {c.fields.target for c in self.conditions() if isinstance(c.fields, HandoffTarget)}
        if self.is_single or self.kind == "Swarm":
            targets |= {handoff.target for agent in self.participants for handoff in agent.handoffs}
        return frozenset(targets) - frozenset(self.names)
