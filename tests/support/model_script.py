"""What the scripted model server answers: rules, and the part of a request that a rule can look at.

A script is a list of rules, `{"when": {...}, "reply": {...}, "times": n, "gate": name}`; the first rule that matches and
is not used up answers. Unknown keys are refused, so that a misspelt condition cannot match everything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tests.support.json_instance import smallest_instance

#: How a streamed answer comes is no part of what was asked.
_TRANSPORT_FIELDS = ("stream", "stream_options")


class When(BaseModel):
    """Conditions on a request; all that are given must hold. Regular expressions are searched, case-sensitive."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    system: str | None = None
    last: str | None = None
    any: str | None = None
    #: Name of a tool that the request offers.
    tool: str | None = None
    #: Name of a tool that an earlier message called, or did not call.
    called: str | None = None
    not_called: str | None = None


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    #: A string is sent as it is: that is how a test makes a model answer broken JSON.
    arguments: dict[str, Any] | str = Field(default_factory=dict)


class ErrorReply(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: int = 500
    retry_after: float | None = None
    message: str = "scripted error"


class Reply(BaseModel):
    """An answer. Without `content`, `tool_calls`, `json` or `error` it is the default answer."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    json_: Any = Field(default=None, alias="json")
    error: ErrorReply | None = None
    #: Closes the connection without an answer.
    disconnect: bool = False
    #: Closes the connection of a stream after this many chunks.
    truncate_after: int | None = None
    #: Seconds before the answer begins, and between the chunks of a stream.
    delay: float = 0.0
    chunk_delay: float = 0.0
    #: Never answers; ends when the client goes.
    hang: bool = False


class Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    when: When = Field(default_factory=When)
    reply: Reply = Field(default_factory=Reply)
    #: How often the rule answers; None is always.
    times: int | None = None
    #: Calls that match are held until the gate of this name is released.
    gate: str | None = None


@dataclass(frozen=True)
class Asked:
    """One request, read the same way for chat completions, responses and embeddings."""

    body: Mapping[str, Any]
    model: str
    system: str
    last: str
    any: str
    offered: Mapping[str, Any]
    called: frozenset[str]
    tool_choice: Any
    #: The JSON Schema that the answer must fit; an empty one asks for any JSON object.
    schema: Any

    @property
    def digest(self) -> str:
        """Hex SHA-256 of what was asked: the source of every id and of the default text."""
        asked = {key: value for key, value in self.body.items() if key not in _TRANSPORT_FIELDS}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Said:
    """The answer of the model, before it is put into the shape of an API."""

    content: str | None
    tool_calls: tuple[tuple[str, str], ...] = ()


class Script:
    """Rules with their counters. Used by one event loop; not thread-safe."""

    def __init__(self, rules: Iterable[Rule | Mapping[str, Any]]) -> None:
        self._rules = [rule if isinstance(rule, Rule) else Rule.model_validate(rule) for rule in rules]
        self._uses = [0] * len(self._rules)

    def choose(self, asked: Asked) -> Rule:
        """The rule that answers; it counts as used."""
        for index, rule in enumerate(self._rules):
            if (rule.times is None or self._uses[index] < rule.times) and _matches(rule.when, asked):
                self._uses[index] += 1
                return rule
        return Rule()


def say(reply: Reply, asked: Asked) -> Said:
    """What a reply makes the model say to this request."""
    calls = tuple((call.name, _arguments(call.arguments)) for call in reply.tool_calls or ())
    if "json_" in reply.model_fields_set:
        return Said(json.dumps(reply.json_), calls)
    if reply.content is not None or calls:
        return Said(reply.content, calls)
    return _default(asked)


def _default(asked: Asked) -> Said:
    forced = _forced_tool(asked)
    if forced is not None:
        return Said(None, ((forced, json.dumps(smallest_instance(asked.offered[forced]))),))
    sentence = f"Answer {asked.digest[:8]}"
    if asked.schema is None:
        return Said(sentence)
    return Said(json.dumps(smallest_instance(asked.schema) if asked.schema else {"answer": sentence}))


def _forced_tool(asked: Asked) -> str | None:
    choice = asked.tool_choice
    if isinstance(choice, Mapping):
        named = choice.get("function", choice).get("name")
        return named if named in asked.offered else None
    return next(iter(asked.offered), None) if choice == "required" else None


def _arguments(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _matches(when: When, asked: Asked) -> bool:
    searches = ((when.model, asked.model), (when.system, asked.system), (when.last, asked.last), (when.any, asked.any))
    return (
        all(pattern is None or re.search(pattern, text) for pattern, text in searches)
        and (when.tool is None or when.tool in asked.offered)
        and (when.called is None or when.called in asked.called)
        and (when.not_called is None or when.not_called not in asked.called)
    )


def read_request(body: Mapping[str, Any]) -> Asked:
    """Reads a body of `/chat/completions`, `/responses` or `/embeddings`."""
    messages = _messages(body)
    system = [_text(m.get("content")) for m in messages if m.get("role") in ("system", "developer")]
    tools = [tool.get("function", tool) for tool in body.get("tools") or () if tool.get("type") == "function"]
    return Asked(
        body=body,
        model=str(body.get("model", "")),
        system="\n".join(system),
        last=_text(messages[-1].get("content", messages[-1].get("output"))) if messages else "",
        any="\n".join(filter(None, map(_whole_text, messages))),
        offered={tool["name"]: tool.get("parameters") or {} for tool in tools},
        called=frozenset(_called(messages)),
        tool_choice=body.get("tool_choice"),
        schema=_schema(body),
    )


def _messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if "messages" in body:
        return body["messages"]  # type: ignore[no-any-return]
    given = body.get("input", [])
    items = given if isinstance(given, list) else [given]
    messages = [item if isinstance(item, Mapping) else {"role": "user", "content": str(item)} for item in items]
    instructions = body.get("instructions")
    return [{"role": "system", "content": instructions}, *messages] if instructions else messages


def _called(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        if message.get("type") == "function_call":
            yield message["name"]
        for call in message.get("tool_calls") or ():
            yield call["function"]["name"]


def _schema(body: Mapping[str, Any]) -> Any:
    wanted = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    match wanted.get("type"):
        case "json_schema":
            return wanted.get("json_schema", wanted).get("schema", {})
        case "json_object":
            return {}
        case _:
            return None


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") if isinstance(part, Mapping) else str(part) for part in content)
    return "" if content is None else str(content)


def _whole_text(message: Mapping[str, Any]) -> str:
    calls = [f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls") or ()]
    rest = [str(message[key]) for key in ("name", "arguments", "output") if message.get(key)]
    return "\n".join(filter(None, [_text(message.get("content")), *calls, *rest]))
