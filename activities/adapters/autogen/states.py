"""The state of a team between turns, as JSON, and what it tells. Pure.

AutoGen gives every message a random id and the time of day. Nothing depends on them, so they are not kept: equal runs have
equal states, and AutoGen gives new ones when it loads a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from activities.adapters.autogen.graphs import start_nodes
from activities.adapters.autogen.spec import USER, TeamSpec
from activities.adapters.base import BadDefinition, Json, JsonObject

#: Messages that agents say to each other end like this; other entries of a thread are events of an agent's work.
_CHAT: Final = ("Message",)
_EPHEMERAL: Final = frozenset({"id", "created_at"})


@dataclass(frozen=True)
class TeamState:
    """A state as read.

    `thread` is the whole conversation with its events, as AutoGen dumps messages; `pending` are messages that the team is
    told with its next turn. `agents` and `manager` are the states of AutoGen's own objects, empty before the first turn.
    `turn` counts all turns, a person's among them. The termination condition sees the thread from `since`, where the task or
    a person's last answer stands, the limit of turns the `turns` from there. `asks` is the person who is handed over to.
    """

    inputs: JsonObject
    thread: list[JsonObject] = field(default_factory=list)
    pending: list[JsonObject] = field(default_factory=list)
    agents: dict[str, JsonObject] = field(default_factory=dict)
    manager: JsonObject = field(default_factory=dict)
    turn: int = 0
    since: int = 0
    turns: int = 0
    seconds: float | None = None
    asks: str | None = None
    done: bool = False
    stop_reason: str | None = None

    def to_json(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def messages(self) -> list[JsonObject]:
        """What was said so far, as people see it."""
        return [shown(message) for message in (*self.thread, *self.pending) if is_chat(message)]


def read_state(state: JsonObject) -> TeamState:
    """Raises `BadDefinition` for what is no state of this adapter."""
    try:
        return TeamState(**state)
    except TypeError as error:
        raise BadDefinition(f"This is no state of a team: {error}") from error


def first_state(inputs: JsonObject) -> TeamState:
    return TeamState(inputs=inputs, pending=[text_message(USER, task_of(inputs))])


def task_of(inputs: JsonObject) -> str:
    """The first message: `inputs.task`, else the inputs as JSON text."""
    task = inputs.get("task", inputs)
    return as_text(task)


def as_text(value: Json) -> str:
    """A value as an agent reads it; the same bytes for the same value."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def text_message(source: str, content: str) -> JsonObject:
    return {"type": "TextMessage", "source": source, "content": content}


def is_chat(message: Mapping[str, Any]) -> bool:
    """Whether a message is part of the conversation, and no event of an agent's work."""
    return str(message.get("type", "")).partition("[")[0].endswith(_CHAT)


def shown(message: Mapping[str, Any]) -> JsonObject:
    """A message for people and conditions: source, content and type; a handoff with its target."""
    view = {"source": message["source"], "content": message["content"], "type": message["type"].partition("[")[0]}
    return view | ({"target": message["target"]} if "target" in message else {})


def bare(message: Mapping[str, Any]) -> JsonObject:
    """A dumped message without its id and time."""
    return {key: value for key, value in message.items() if key not in _EPHEMERAL}


def last_text(messages: Sequence[JsonObject], source: str | None = None) -> str | None:
    """The text of the last message, or of the last one of an agent."""
    said = [message for message in messages if source is None or message["source"] == source]
    return as_text(said[-1]["content"]) if said else None


def handoff_of(messages: Iterable[JsonObject]) -> JsonObject | None:
    """The last handoff of a conversation."""
    return next((one for one in reversed(list(messages)) if one["type"] == "HandoffMessage"), None)


def next_speakers(team: TeamSpec, state: TeamState) -> tuple[str, ...]:
    """Who speaks next; empty when the run is done, or when only the team's model can tell."""
    if state.done:
        return ()
    if state.asks is not None:
        return (state.asks,)
    match team.kind:
        case "AssistantAgent" | "RoundRobinGroupChat":
            return (team.names[state.manager.get("next_speaker_index", 0) % len(team.names)],)
        case "Swarm":
            handoff = handoff_of((*state.thread, *state.pending))
            return (handoff["target"] if handoff else state.manager.get("current_speaker") or team.names[0],)
        case "GraphFlow" if team.graph is not None:
            return tuple(state.manager.get("ready") or start_nodes(team.graph, team.names))
        case "MagenticOneGroupChat":
            return (team.name,)
    return ()


def step_name(team: TeamSpec, state: TeamState) -> str:
    """What people see of the turn that comes next."""
    speakers = " + ".join(dict.fromkeys(next_speakers(team, state)))
    if not team.is_stepped:
        return f"all turns · {speakers}"
    return f"turn {state.turn + 1} · {speakers}" if speakers else f"turn {state.turn + 1}"


def result_of(state: TeamState) -> JsonObject:
    """A run's outputs: all messages, `raw` as the text of the last one, and what ended the run (None for one agent)."""
    messages = state.messages
    return {"messages": messages, "raw": last_text(messages) or "", "stop_reason": state.stop_reason}


def with_answer(team: TeamSpec, state: TeamState, text: str) -> TeamState:
    """The state after a person's turn: the team hears the answer first at its next turn, and counts from there."""
    assert state.asks is not None
    handoff = handoff_of(state.thread)
    message = text_message(state.asks, text)
    if team.kind == "Swarm" and handoff is not None:
        message = {**message, "type": "HandoffMessage", "target": handoff["source"]}
    since = len(state.thread)
    return replace(
        state, pending=[*state.pending, message], asks=None, turn=state.turn + 1, since=since, turns=0, seconds=None
    )
