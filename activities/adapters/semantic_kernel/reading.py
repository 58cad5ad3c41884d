"""Reads a definition into a `Spec`, collecting every problem with the path of its field, and every warning. Pure.

What is read is well-formed field by field; whether the parts fit together is the business of `checks`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.schema import (
    LEFT_OUT,
    ORCHESTRATIONS,
    REFUSED,
    AgentFields,
    FunctionFields,
    InputFields,
    ModelFields,
    Options,
    Orchestration,
    Part,
    Sequential,
)
from omium_core.errors import Problem

P = TypeVar("P", bound=Part)
Keys = tuple[str | int, ...]

_NOTHING: Final[tuple[Any, ...]] = (None, False, [], {}, "")
_CHAT_TYPES: Final = frozenset({"", "chat_completion_agent", "chatcompletionagent", "chat_completion", "agent"})
_HUMAN_TYPES: Final = frozenset({"human", "user", "person", "human_agent", "user_proxy"})
_SPELLINGS: Final = {
    "groupchat": "group_chat",
    "parallel": "concurrent",
    "handoffs": "handoff",
    "round_robin": "group_chat",
}
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


def path_of(keys: Keys) -> str:
    """`("agents", 0, "name")` as `agents[0].name`."""
    path = ""
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else join(path, key)
    return path


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


class _Reader:
    def __init__(self) -> None:
        self.result = Reading()

    def read(self, definition: JsonObject) -> Reading:
        spec = self.result.spec
        if "agents" not in definition and "functions" not in definition:
            self._single(definition)
            return self.result
        for name in definition.keys() - _DOCUMENT:
            self._problem(name, f"Unknown field {name!r}{did_you_mean(name, _DOCUMENT)}")
        for keys, body in self._named(definition, "agents"):
            self._agent(keys, body)
        for keys, body in self._named(definition, "functions"):
            self._function(keys, body)
        if definition.get("agents") is not None and definition.get("functions") is not None:
            self._problem("functions", "A definition has agents or functions, not both.")
        if definition.get("functions") is None:
            spec.orchestration = self._orchestration(definition)
        elif definition.get("orchestration") is not None:
            self._problem("orchestration", "Functions run one after the other; an orchestration is for agents.")
        return self.result

    def _single(self, definition: JsonObject) -> None:
        """One agent or one function as the whole definition."""
        if "template" in definition and isinstance(definition["template"], str):
            self._function((), definition)
        elif "type" in definition or "instructions" in definition:
            self._agent((), definition)
        else:
            self._problem("agents", "A definition needs agents: a list of them, or an object of agents by name.")

    def _named(self, definition: JsonObject, part: str) -> Iterator[tuple[Keys, Any]]:
        """A list of parts that have a `name`, or an object of parts by name."""
        parts = definition.get(part)
        if parts is None and part in definition:
            self._problem(part, f"{part} must not be null.")
        elif isinstance(parts, Mapping) and parts:
            for name, body in parts.items():
                yield (part, name), {"name": name, **body} if isinstance(body, Mapping) else body
        elif isinstance(parts, list) and parts:
            yield from (((part, index), body) for index, body in enumerate(parts))
        elif part in definition:
            self._problem(part, f"There must be at least one of the {part}: a list of them, or an object by name.")

    def _agent(self, keys: Keys, body: Any) -> None:
        path = path_of(keys)
        if not isinstance(body, Mapping):
            self._problem(path, "An agent is an object.")
            return
        kind = str(body.get("type") or "").lower()
        if kind not in _CHAT_TYPES | _HUMAN_TYPES:
            self._problem(
                join(path, "type"),
                f"Agents of type {body['type']!r} do not run here: only `chat_completion_agent` does, whose model calls go "
                "through the platform's gateway, and `human` for a person.",
            )
            kind = ""
        tools = self._tools(body, path)
        body = self._plain_template(dict(body), path)
        fields = self._part(AgentFields, body, path)
        name = fields.name if isinstance(getattr(fields, "name", None), str) else ""
        if name in self.result.spec.agents:
            self._problem(join(path, "name"), f"There is another agent named {name!r}.")
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
            self._problem(join(path, "template"), "This must be an object with `format`.")
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
            self._problem(path, "A function is an object.")
            return
        tools = self._tools(body, path)
        body = dict(body)
        if isinstance(body.get("prompt"), str) and "template" not in body:
            body["template"] = body.pop("prompt")
        settings = body.pop("execution_settings", None)
        if settings not in _NOTHING and body.get("model") is None:
            body["model"] = self._settings(settings, join(path, "execution_settings"))
        if isinstance(body.get("input_variables"), Mapping):
            body["input_variables"] = [
                {"name": name, **variable} if isinstance(variable, Mapping) else {"name": name}
                for name, variable in body["input_variables"].items()
            ]
        fields = self._part(FunctionFields, body, path)
        name = fields.name if isinstance(getattr(fields, "name", None), str) else ""
        if name in self.result.spec.functions:
            self._problem(join(path, "name"), f"There is another function named {name!r}.")
        elif name:
            self.result.spec.functions[name] = Function(name, keys, fields, tools)

    def _settings(self, settings: Any, path: str) -> JsonObject | None:
        """The execution settings of a function, flat or by service, as a model with options."""
        if isinstance(settings, list) and settings:
            settings = settings[0]
        if isinstance(settings, Mapping) and settings and all(isinstance(item, Mapping) for item in settings.values()):
            settings = settings.get("default") or next(iter(settings.values()))
        if not isinstance(settings, Mapping):
            self._problem(path, "Execution settings are an object.")
            return None
        options = {key: value for key, value in settings.items() if key not in _MODEL_NAMES}
        options.pop("function_choice_behavior", None)
        model = next((settings[key] for key in _MODEL_NAMES if settings.get(key)), None)
        return {"id": model, "options": options}

    def _tools(self, body: Mapping[str, Any], path: str) -> tuple[str, ...]:
        found: list[str] = []
        for key in ("tools", "plugins"):
            tools = body.get(key)
            if tools in _NOTHING or (key == "plugins" and not _are_names(tools)):
                continue
            if not isinstance(tools, list):
                self._problem(join(path, key), 'Tools are a list of names, as in ["calculator"].')
                continue
            for index, tool in enumerate(tools):
                name = _tool_name(tool)
                if name is None:
                    self._problem(
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
            self._problem("orchestration", "An orchestration is an object with a `type`, or the type itself.")
            return Sequential()
        body = dict(given)
        kind = str(body.get("type", "sequential")).lower().replace("-", "_").removesuffix("orchestration").strip("_ ")
        kind = _SPELLINGS.get(kind, kind)
        if kind not in ORCHESTRATIONS:
            known = ", ".join(ORCHESTRATIONS)
            self._problem(
                "orchestration.type" if isinstance(definition.get("orchestration"), Mapping) else "orchestration",
                f"Unknown orchestration {body.get('type')!r}{did_you_mean(kind, ORCHESTRATIONS)} Known are: {known}.",
            )
            return Sequential()
        body["type"] = kind
        if "agents" in body and "members" not in body:
            body["members"] = body.pop("agents")
        if isinstance(body.get("manager"), str):
            body["manager"] = {"type": body["manager"]}
        if kind == "handoff":
            body["handoffs"] = _handoffs(body.get("handoffs", definition.get("handoffs")))
        model = ORCHESTRATIONS[kind]
        found = self._part(model, body, "orchestration")
        # What is wrong with it is told; a partly filled one would trip the checks.
        return found if isinstance(found, model) and _is_whole(found) else Sequential()

    def _part(self, model: type[P], body: Mapping[str, Any], path: str) -> P:
        kept = self._without_left_out(model, body, path)
        for name in ("model", "manager"):
            nested = kept.get(name)
            if isinstance(nested, Mapping):
                kept[name] = (
                    self._nested_model(nested, join(path, name)) if name == "model" else self._manager(nested, path)
                )
        inputs = kept.get("inputs")
        if isinstance(inputs, Mapping):
            kept["inputs"] = {key: self._input(value, join(path, f"inputs.{key}")) for key, value in inputs.items()}
        try:
            return model.model_validate(kept)
        except ValidationError as error:
            self.result.problems.extend(_problems(error, model, path))
            wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
            # What is left is kept, so that its references are judged as well.
            rest: Any = {name: value for name, value in kept.items() if name not in wrong}
            return cast("P", model.model_construct(**rest))

    def _manager(self, body: Mapping[str, Any], path: str) -> dict[str, Any]:
        kept = dict(body)
        if isinstance(kept.get("model"), Mapping):
            kept["model"] = self._nested_model(kept["model"], join(path, "manager.model"))
        return kept

    def _nested_model(self, body: Mapping[str, Any], path: str) -> dict[str, Any]:
        kept = self._without_left_out(ModelFields, body, path)
        if isinstance(kept.get("options"), Mapping):
            kept["options"] = self._without_left_out(Options, kept["options"], join(path, "options"))
        return kept

    def _input(self, value: Any, path: str) -> Any:
        return self._without_left_out(InputFields, value, path) if isinstance(value, Mapping) else {"default": value}

    def _without_left_out(self, model: type[Part], body: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The body without refused and ignored fields; switched off (null, false, empty) they are no matter."""
        refused, left_out = REFUSED.get(model, {}), LEFT_OUT.get(model, {})
        kept: dict[str, Any] = {}
        for name, value in body.items():
            if name in refused:
                if value not in _NOTHING and not (name == "plugins" and _are_names(value)):
                    self._problem(join(path, name), f"{name} {refused[name]}.")
            elif name in left_out:
                if left_out[name] is not None and value not in _NOTHING:
                    self.result.warnings.append(f"{join(path, name)}: {left_out[name]}.")
            else:
                kept[name] = value
        return kept

    def _problem(self, path: str, message: str) -> None:
        self.result.problems.append(Problem(path, message))


_MODEL_NAMES: Final = ("ai_model_id", "model_id", "model", "deployment_name")


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


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


def _is_whole(part: Part) -> bool:
    return all(hasattr(part, name) for name in type(part).model_fields)


def _problems(error: ValidationError, model: type[Part], path: str) -> Iterator[Problem]:
    """Pydantic's errors in our words, one per field."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        location = [part for part in item["loc"] if not _names_a_choice(part)]
        where = path
        for part in location:
            where = f"{where}[{part}]" if isinstance(part, int) else join(where, str(part))
        found.setdefault(where, _message(item["type"], item["msg"], location, model))
    for where, message in found.items():
        # Of the members of a union, the one that came furthest is the one that was meant.
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found):
            yield Problem(where, message)


def _names_a_choice(part: str | int) -> bool:
    """Whether a part of a location names a member of a union, and no field."""
    return isinstance(part, str) and (part in _CHOICES or part.startswith(("list[", "dict[", "literal[")))


_CHOICES: Final = frozenset({"str", "bool", "ModelFields", "FunctionChoice"})


def _message(kind: str, message: str, location: list[str | int], model: type[Part]) -> str:
    if kind == "missing":
        return "This field is required."
    if kind == "extra_forbidden":
        known = [*model.model_fields, *LEFT_OUT.get(model, {})] if len(location) == 1 else []
        return f"Unknown field {location[-1]!r}{did_you_mean(str(location[-1]), known)}"
    return f"{message}."
