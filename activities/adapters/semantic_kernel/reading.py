"""Reads a definition into a `Spec`, collecting every problem with the path of its field, and every warning. Pure.

What is read is well-formed field by field; whether the parts fit together is the business of `checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.parts import NOTHING, Keys, PartReader, are_names, did_you_mean, join, path_of
from activities.adapters.semantic_kernel.schema import (
    ORCHESTRATIONS,
    AgentFields,
    FunctionFields,
    Orchestration,
    Sequential,
)
from omium_core.errors import Problem

_CHAT_TYPES: Final = frozenset({"", "chat_completion_agent", "chatcompletionagent", "chat_completion", "agent"})
_HUMAN_TYPES: Final = frozenset({"human", "user", "person", "human_agent", "user_proxy"})
_SPELLINGS: Final = {
    "groupchat": "group_chat",
    "parallel": "concurrent",
    "handoffs": "handoff",
    "round_robin": "group_chat",
}
_MANAGERS: Final = {"roundrobin": "round_robin", "chatcompletion": "prompt", "chat_completion": "prompt"}
#: Top-level fields that describe the document itself.
_DOCUMENT: Final = frozenset(
    {"name", "description", "agents", "functions", "orchestration", "handoffs", "version", "type"}
)


@dataclass(frozen=True)
class Agent:
    """An agent, and where it stands in the definition."""

    name: str
    keys: Keys
    fields: AgentFields
    tools: tuple[str, ...]
    is_human: bool

    @property
    def path(self) -> str:
        return path_of(self.keys)


@dataclass(frozen=True)
class Function:
    """A prompt function, and where it stands in the definition."""

    name: str
    keys: Keys
    fields: FunctionFields
    tools: tuple[str, ...]

    @property
    def path(self) -> str:
        return path_of(self.keys)


@dataclass
class Spec:
    """A definition as read: agents with an orchestration, or functions in their order."""

    agents: dict[str, Agent] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    orchestration: Orchestration = field(default_factory=Sequential)

    @property
    def members(self) -> list[Agent]:
        """Who takes part, in order."""
        names = self.orchestration.members
        return list(self.agents.values()) if names is None else [self.agents[n] for n in names if n in self.agents]


@dataclass
class Reading:
    """What was read, and what is wrong with it or left out of it. With problems, the spec is good for further checks only."""

    spec: Spec = field(default_factory=Spec)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read(definition: JsonObject) -> Reading:
    """Reads a whole definition; parts with problems are read as far as they are right."""
    return _Reader().read(definition)


class _Reader(PartReader):
    def __init__(self) -> None:
        super().__init__()
        self.result = Reading(problems=self.problems, warnings=self.warnings)

    def read(self, definition: JsonObject) -> Reading:
        spec = self.result.spec
        if "agents" not in definition and "functions" not in definition:
            self._single(definition)
            return self.result
        for name in definition.keys() - _DOCUMENT:
            self.problem(name, f"Unknown field {name!r}{did_you_mean(name, _DOCUMENT)}")
        if not isinstance(definition.get("handoffs", {}), Mapping):
            self.problem("handoffs", "Who may hand over to whom is said in `orchestration.handoffs`.")
        for keys, body in self._named(definition, "agents"):
            self._agent(keys, body)
        for keys, body in self._named(definition, "functions"):
            self._function(keys, body)
        if definition.get("agents") is not None and definition.get("functions") is not None:
            self.problem("functions", "A definition has agents or functions, not both.")
        if definition.get("functions") is None:
            spec.orchestration = self._orchestration(definition)
        elif definition.get("orchestration") is not None:
            self.problem("orchestration", "Functions run one after the other; an orchestration is for agents.")
        return self.result

    def _single(self, definition: JsonObject) -> None:
        """One agent or one function as the whole definition."""
        if "template" in definition and isinstance(definition["template"], str):
            self._function((), definition)
        elif "type" in definition or "instructions" in definition:
            self._agent((), definition)
        else:
            self.problem("agents", "A definition needs agents: a list of them, or an object of agents by name.")

    def _named(self, definition: JsonObject, part: str) -> Iterator[tuple[Keys, Any]]:
        """A list of parts that have a `name`, or an object of parts by name."""
        parts = definition.get(part)
        if parts is None and part in definition:
            self.problem(part, f"{part} must not be null.")
        elif isinstance(parts, Mapping) and parts:
            for name, body in parts.items():
                yield (part, name), {"name": name, **body} if isinstance(body, Mapping) else body
        elif isinstance(parts, list) and parts:
            yield from (((part, index), body) for index, body in enumerate(parts))
        elif part in definition:
            self.problem(part, f"There must be at least one of the {part}: a list of them, or an object by name.")

    def _agent(self, keys: Keys, body: Any) -> None:
        path = path_of(keys)
        if not isinstance(body, Mapping):
            self.problem(path, "An agent is an object.")
            return
        kind = str(body.get("type") or "").lower()
        if kind not in _CHAT_TYPES | _HUMAN_TYPES:
            self.problem(
                join(path, "type"),
                f"Agents of type {body['type']!r} do not run here: only `chat_completion_agent` does, whose model calls go "
                "through the platform's gateway, and `human` for a person.",
            )
            kind = ""
        tools = self._tools(body, path)
        body = _with_choice(self._with_settings(self._plain_template(dict(body), path), path))
        fields = self.part(AgentFields, body, path)
        name = fields.name if isinstance(getattr(fields, "name", None), str) else ""
        if name in self.result.spec.agents:
            self.problem(join(path, "name"), f"There is another agent named {name!r}.")
        elif name:
            self.result.spec.agents[name] = Agent(name, keys, fields, tools, kind in _HUMAN_TYPES)

    def _plain_template(self, body: dict[str, Any], path: str) -> dict[str, Any]:
        """An agent's `template` (`{"format": ..., "template": ...}`) as the two fields that it stands for."""
        template = body.pop("prompt_template", None) or body.pop("template", None)
        if template is None:
            return body
        if isinstance(template, str):
            template = {"format": template}
        if not isinstance(template, Mapping):
            self.problem(join(path, "template"), "This must be an object with `format`.")
            return body
        form = template.get("format") or template.get("template_format")
        if form is not None:
            body["template_format"] = form
        if not body.get("instructions") and template.get("template"):
            body["instructions"] = template["template"]
        return body

    def _function(self, keys: Keys, body: Any) -> None:
        path = path_of(keys)
        if not isinstance(body, Mapping):
            self.problem(path, "A function is an object.")
            return
        tools = self._tools(body, path)
        body = dict(body)
        if isinstance(body.get("prompt"), str) and "template" not in body:
            body["template"] = body.pop("prompt")
        body = self._with_settings(body, path)
        if isinstance(body.get("input_variables"), Mapping):
            body["input_variables"] = [
                {"name": name, **variable} if isinstance(variable, Mapping) else {"name": name}
                for name, variable in body["input_variables"].items()
            ]
        fields = self.part(FunctionFields, body, path)
        name = fields.name if isinstance(getattr(fields, "name", None), str) else ""
        if name in self.result.spec.functions:
            self.problem(join(path, "name"), f"There is another function named {name!r}.")
        elif name:
            self.result.spec.functions[name] = Function(name, keys, fields, tools)

    def _with_settings(self, body: dict[str, Any], path: str) -> dict[str, Any]:
        """Execution settings as the model that they stand for; a `model` beside them counts."""
        settings = body.pop("execution_settings", None)
        if settings in NOTHING or body.get("model") is not None:
            return body
        model = as_model(settings)
        if model is None:
            self.problem(join(path, "execution_settings"), "Execution settings are an object.")
        return {**body, "model": model}

    def _tools(self, body: Mapping[str, Any], path: str) -> tuple[str, ...]:
        found: list[str] = []
        for key in ("tools", "plugins"):
            tools = body.get(key)
            if tools in NOTHING or (key == "plugins" and not are_names(tools)):
                continue
            if not isinstance(tools, list):
                self.problem(join(path, key), 'Tools are a list of names, as in ["calculator"].')
                continue
            for index, tool in enumerate(tools):
                name = _tool_name(tool)
                if name is None:
                    self.problem(
                        join(path, f"{key}[{index}]"),
                        'A tool is named, as in \'calculator\' or {"id": "calculator", "type": "function"}, from the '
                        "tools that the operator registered.",
                    )
                elif name not in found:
                    found.append(name)
        return tuple(found)

    def _orchestration(self, definition: JsonObject) -> Orchestration:
        given = definition.get("orchestration")
        if given is None:
            given = {"type": "handoff"} if definition.get("handoffs") else {"type": "sequential"}
        elif isinstance(given, str):
            given = {"type": given}
        if not isinstance(given, Mapping):
            self.problem("orchestration", "An orchestration is an object with a `type`, or the type itself.")
            return Sequential()
        body = dict(given)
        kind = str(body.get("type", "sequential")).lower().replace("-", "_").removesuffix("orchestration").strip("_ ")
        kind = _SPELLINGS.get(kind, kind)
        if kind not in ORCHESTRATIONS:
            known = ", ".join(ORCHESTRATIONS)
            self.problem(
                "orchestration.type" if isinstance(definition.get("orchestration"), Mapping) else "orchestration",
                f"Unknown orchestration {body.get('type')!r}{did_you_mean(kind, ORCHESTRATIONS)} Known are: {known}.",
            )
            return Sequential()
        body["type"] = kind
        if "agents" in body and "members" not in body:
            body["members"] = body.pop("agents")
        if isinstance(body.get("manager"), str):
            body["manager"] = {"type": body["manager"]}
        if kind == "group_chat":
            body |= _group_chat(body)
        if kind == "handoff" and (handoffs := body.get("handoffs", definition.get("handoffs"))) is not None:
            body["handoffs"] = _handoffs(handoffs)
        told = len(self.problems)
        found = self.part(ORCHESTRATIONS[kind], body, "orchestration")
        # What is wrong with it is told; a partly filled one would trip the checks.
        return found if len(self.problems) == told else Sequential()


_CHOICE: Final = "function_choice_behavior"
_MODEL_NAMES: Final = ("ai_model_id", "model_id", "model", "deployment_name")


def as_model(settings: Any) -> JsonObject | None:
    """The execution settings of a function, flat or by service, as a model with options; None for what is none."""
    if isinstance(settings, list) and settings:
        settings = settings[0]
    if isinstance(settings, Mapping) and settings and all(isinstance(item, Mapping) for item in settings.values()):
        settings = settings.get("default") or next(iter(settings.values()))
    if not isinstance(settings, Mapping):
        return None
    options = {key: value for key, value in settings.items() if key not in _MODEL_NAMES}
    # A function with tools always lets the model choose.
    options.pop(_CHOICE, None)
    return {"id": next((settings[key] for key in _MODEL_NAMES if settings.get(key)), None), "options": options}


def _with_choice(agent: JsonObject) -> JsonObject:
    """An agent whose model's options say how it calls tools, with that as its own `function_choice_behavior`."""
    model = agent.get("model")
    options = model.get("options") if isinstance(model, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(options, Mapping) or _CHOICE not in options:
        return agent
    rest = {key: value for key, value in options.items() if key != _CHOICE}
    return {**agent, "model": {**model, "options": rest}, _CHOICE: agent.get(_CHOICE) or options[_CHOICE]}


def _tool_name(tool: Any) -> str | None:
    """The registered name in a tool's entry: a text, or an object with `id`, `name` or OpenAI's `function`."""
    if isinstance(tool, Mapping):
        if tool.get("type", "function") != "function":
            return None
        function = tool.get("function")
        tool = tool.get("id") or tool.get("name") or (function.get("name") if isinstance(function, Mapping) else None)
    if not isinstance(tool, str) or not tool or ":" in tool:
        return None
    # In Semantic Kernel's files a plugin's name stands before the function's.
    return tool.rpartition(".")[2]


def _group_chat(body: JsonObject) -> JsonObject:
    """Fields of a group chat that are written as Semantic Kernel's classes have them."""
    changed: JsonObject = {}
    if isinstance(body.get("human"), str):
        changed["human"] = [body["human"]]
    manager = body.get("manager")
    if isinstance(manager, Mapping):
        kind = str(manager.get("type", "round_robin")).lower().removesuffix("groupchatmanager")
        changed["manager"] = {**manager, "type": _MANAGERS.get(kind, kind)}
        if "max_rounds" in manager:
            changed["max_rounds"] = changed["manager"].pop("max_rounds")
    return changed


def _handoffs(given: Any) -> Any:
    """Handoffs as a list, also where they are given as Semantic Kernel's own dictionaries."""
    if isinstance(given, list):
        return [_handoff(item) for item in given]
    if not isinstance(given, Mapping):
        return given
    listed = []
    for source, targets in given.items():
        pairs = targets.items() if isinstance(targets, Mapping) else [(target, "") for target in targets or ()]
        listed += [{"from": source, "to": target, "description": text} for target, text in pairs]
    return listed


def _handoff(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    renamed = {"source": "from", "target": "to"}
    return {renamed.get(key, key): value for key, value in item.items()}
