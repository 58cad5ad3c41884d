"""Reads a definition into a `FlowSpec`, collecting every problem with the path of its field. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from activities.adapters.base import Json, JsonObject
from activities.adapters.flow.paths import Parts, parse
from activities.adapters.flow.spec import AgentPart, FlowPart, SourcePart, StepPart
from omium_core.errors import Problem

P = TypeVar("P", bound=BaseModel)

_CONFIG_REF = "Put the agent's configuration itself into `config`: there is no store of configurations to refer to."
_MESSAGES = {
    "missing": "Is required.",
    "dict_type": "Must be an object.",
    "model_type": "Must be an object.",
    "list_type": "Must be a list.",
    "string_type": "Must be a text.",
    "bool_type": "Must be true or false.",
    "bool_parsing": "Must be true or false.",
    "string_too_short": "Must not be empty.",
}
#: What pydantic calls the members of a union, in the location of an error.
_CHOICES = frozenset({"list", "dict", "str", "int", "SourcePart", "constrained-str", "constrained-int"})


@dataclass(frozen=True)
class Source:
    """Where an input of a step comes from. Without `parts` it is `value`; `default` is a tuple of one where there is one."""

    target: str
    path: str
    parts: Parts = ()
    value: Json = None
    default: tuple[Json, ...] = ()


@dataclass(frozen=True)
class Agent:
    """An agent as read. `path` is its place in the definition."""

    id: str
    path: str
    framework: str
    config: JsonObject
    name: str

    @property
    def is_lone(self) -> bool:
        """Whether the config is one agent of a crew, whose task is the step's."""
        return self.framework == "crewai" and "role" in self.config and not {"agents", "tasks"} & self.config.keys()


@dataclass(frozen=True)
class FlowStep:
    """A step as read. `sources` None: it is given all there is. `outputs` maps names to paths; None where only the name counts."""

    id: str
    index: int
    path: str
    part: StepPart
    name: str
    #: What the agent is asked: a template.
    task: str | None
    sources: tuple[Source, ...] | None
    outputs: Mapping[str, Parts | None]
    #: None where the step does not say it.
    depends_on: tuple[str, ...] | None


@dataclass
class FlowSpec:
    """A flow as read; steps in the order of the list."""

    agents: dict[str, Agent] = field(default_factory=dict)
    steps: dict[str, FlowStep] = field(default_factory=dict)
    #: Whether all agents, and all steps, could be read: only then can be said of a name that there is none.
    all_agents: bool = True
    all_steps: bool = True


@dataclass
class Reading:
    """What was read, and what is wrong with it. With problems, the flow is good for further checks only."""

    flow: FlowSpec = field(default_factory=FlowSpec)
    problems: list[Problem] = field(default_factory=list)


def read_flow(definition: Json) -> Reading:
    """Reads a whole definition; parts with problems are read as far as they are right."""
    return _Reader().read(definition)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop when no known word is close."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


class _Reader:
    def __init__(self) -> None:
        self.result = Reading()

    def read(self, definition: Json) -> Reading:
        if not isinstance(definition, Mapping):
            self._problem("", "Must be an object.")
            return self.result
        agents, steps = definition.get("agents"), definition.get("flow")
        rest = {key: value for key, value in definition.items() if key not in ("agents", "flow")}
        self._part(_Outline, rest, "")
        for path, body in self._listed_agents(agents):
            self._read_agent(path, body)
        self.result.flow.all_agents = not self.result.problems
        if not isinstance(steps, list) or not steps:
            self._problem("flow", "A flow needs a list of at least one step.")
            return self.result
        for index, body in enumerate(steps):
            self._read_step(index, body)
        self.result.flow.all_steps = len(self.result.flow.steps) == len(steps)
        return self.result

    def _problem(self, path: str, message: str) -> None:
        self.result.problems.append(Problem(path, message))

    def _part(self, model: type[P], body: Json, path: str) -> P | None:
        try:
            return model.model_validate(body)
        except ValidationError as error:
            self.result.problems += _problems(error, path, model.model_fields)
            return None

    def _listed_agents(self, agents: Json) -> Iterator[tuple[str, Json]]:
        """Agents of a list, or of an object by their ids."""
        if isinstance(agents, Mapping) and agents:
            for name, body in agents.items():
                yield f"agents.{name}", {"id": name, **body} if isinstance(body, Mapping) else body
        elif isinstance(agents, list) and agents:
            yield from ((f"agents[{index}]", body) for index, body in enumerate(agents))
        else:
            self._problem("agents", "A flow needs at least one agent: a list of agents, or an object of them by id.")

    def _read_agent(self, path: str, body: Json) -> None:
        if isinstance(body, Mapping) and "config_ref" in body:
            self._problem(f"{path}.config_ref", _CONFIG_REF)
            body = {"config": {}, **{key: value for key, value in body.items() if key != "config_ref"}}
        part = self._part(AgentPart, body, path)
        if part is None:
            return
        if part.id in self.result.flow.agents:
            self._problem(f"{path}.id", f"There is another agent {part.id!r}.")
        else:
            agent = Agent(part.id, path, part.framework, part.config, part.name or part.id)
            self.result.flow.agents[part.id] = agent

    def _read_step(self, index: int, body: Json) -> None:
        path = f"flow[{index}]"
        part = self._part(StepPart, body, path)
        if part is None:
            return
        name = str(index + 1 if part.step is None else part.step)
        steps = self.result.flow.steps
        if name in steps:
            self._problem(f"{path}.step", f"There is another step {name!r}.")
            return
        agent = self.result.flow.agents.get(part.agent)
        steps[name] = FlowStep(
            id=name,
            index=index,
            path=path,
            part=part,
            name=part.name or (agent.name if agent else part.agent),
            task=part.task or (part.description if agent and agent.is_lone and part.description else None),
            sources=None if part.inputs is None else tuple(self._sources(part.inputs, f"{path}.inputs")),
            outputs=self._outputs(part, f"{path}.outputs"),
            depends_on=_ids(part.depends_on),
        )

    def _sources(self, inputs: list[str] | dict[str, str | SourcePart], path: str) -> Iterator[Source]:
        if isinstance(inputs, dict):
            for target, given in inputs.items():
                yield from self._source(target, given, f"{path}.{target}")
            return
        seen: set[str] = set()
        for index, given in enumerate(inputs):
            target = (parse(given) or (given,))[-1]
            if target in seen:
                self._problem(f"{path}[{index}]", f"There is another input {target!r}: give inputs as an object.")
            seen.add(target)
            yield from self._source(target, given, f"{path}[{index}]")

    def _source(self, target: str, given: str | SourcePart, path: str) -> Iterator[Source]:
        said = SourcePart(**{"from": given}) if isinstance(given, str) else given
        if ("value" in said.model_fields_set) == (said.source is not None):
            self._problem(path, "Must have either `from`, a path, or `value`.")
        elif said.source is None:
            yield Source(target, path, value=said.value)
        elif (parts := parse(said.source)) is None:
            self._problem(path, f"{said.source!r} is no path, such as `name`, `name.field` or `name.list[0]`.")
        else:
            default = (said.default,) if "default" in said.model_fields_set else ()
            yield Source(target, path, parts, default=default)

    def _outputs(self, part: StepPart, path: str) -> dict[str, Parts | None]:
        if part.outputs is None:
            return {part.agent: None}
        if isinstance(part.outputs, dict):
            found: dict[str, Parts | None] = {}
            for name, given in part.outputs.items():
                found[name] = parse(given)
                if found[name] is None:
                    self._problem(f"{path}.{name}", f"{given!r} is no path into the agent's outputs.")
            return found
        names = [part.outputs] if isinstance(part.outputs, str) else part.outputs
        return dict.fromkeys(names)


class _Outline(FlowPart):
    """A flow without its agents and steps, which are read one by one."""

    agents: Any = None
    flow: Any = None


def _ids(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    return tuple(str(one) for one in (given if isinstance(given, list) else [given]))


def _problems(error: ValidationError, path: str, known: Iterable[str]) -> Iterator[Problem]:
    """Pydantic's errors in our words, one per field; of the members of a union, the one that came furthest."""
    found: dict[str, str] = {}
    for details in error.errors(include_url=False):
        where = path
        for part in details["loc"]:
            if isinstance(part, int):
                where = f"{where}[{part}]"
            elif not _names_a_choice(part):
                where = f"{where}.{part}" if where else part
        found.setdefault(where, _message(details, known))
    for where, message in found.items():
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found):
            yield Problem(where, message)


def _names_a_choice(part: str) -> bool:
    return part in _CHOICES or "[" in part


def _message(details: ErrorDetails, known: Iterable[str]) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        name = str(details["loc"][-1])
        return f"Unknown field {name!r}{did_you_mean(name, known)}"
    if kind == "string_pattern_mismatch":
        return f"{details['input']!r} is not allowed here: a name has no spaces around it, no dots and no brackets."
    return _MESSAGES.get(kind, f"{details['msg']}.")
