"""The state between two steps. Pure.

`{"format", "inputs", "messages", "next", "turns", "spoken", "asked_by", "results", "notes"?}`:

- `messages` are all that was said, the task first. A message is `{"role", "name"?, "content", "calls"?, "results"?}`; `only`
  names the one agent that sees it (its tool calls, what it said while it handed over), `but` the one that does not.
- `next` are the names of who runs next; `[]` at the end, None where the step that comes has to choose.
- `turns` counts the turns of each name, `spoken` those of all agents. `asked_by` is the agent that a person answers.
- `results` are the last texts of functions, and of agents that ran at the same time.
- `notes` are what the manager of a Magentic team remembers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from activities.adapters.base import BadDefinition, Json, JsonObject

FORMAT: Final = "semantic_kernel/1"


def task_of(inputs: JsonObject) -> str:
    """The first message: `inputs.task`, else the inputs as JSON text."""
    return as_text(inputs.get("task", inputs))


def as_text(value: Json) -> str:
    """A value as a model reads it; the same bytes for the same value."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def new_state(inputs: JsonObject, following: list[str] | None, *, with_task: bool) -> JsonObject:
    """The state before the first step."""
    return {
        "format": FORMAT,
        "inputs": inputs,
        "messages": [{"role": "user", "content": task_of(inputs)}] if with_task else [],
        "next": following,
        "turns": {},
        "spoken": 0,
        "asked_by": None,
        "results": {},
    }


def check_state(state: JsonObject) -> None:
    """Raises `BadDefinition` for what is no state of ours; people may have edited it."""
    fits = (
        state.get("format") == FORMAT
        and isinstance(state.get("inputs"), Mapping)
        and isinstance(state.get("messages"), list)
        and all(isinstance(message, Mapping) for message in state["messages"])
        and isinstance(state.get("turns"), Mapping)
        and isinstance(state.get("results"), Mapping)
        and isinstance(state.get("spoken"), int)
    )
    if not fits:
        raise BadDefinition("The state is none that this framework wrote.")


def heard_by(messages: list[JsonObject], name: str) -> list[JsonObject]:
    """What an agent knows of a conversation."""
    return [m for m in messages if m.get("only") in (None, name) and m.get("but") != name]


def public(messages: list[JsonObject]) -> list[JsonObject]:
    """What everybody heard, as people see it: role, name and content."""
    return [
        {key: message[key] for key in ("role", "name", "content") if key in message}
        for message in messages
        if message.get("only") is None
    ]


def last_text(state: JsonObject, *, without: str | None = None) -> str:
    """The last thing that was said, but for what `without` said."""
    said = [m for m in public(state["messages"]) if without is None or m.get("name") != without]
    return str(said[-1]["content"]) if said else ""


def values(state: JsonObject) -> JsonObject:
    """`messages`, `last`, and the last text of each agent and function whose name can stand in a condition."""
    found: dict[str, Any] = {}
    for message in public(state["messages"]):
        if isinstance(message.get("name"), str) and message["name"].isidentifier():
            found[message["name"]] = message["content"]
    found |= {name: text for name, text in state["results"].items() if name.isidentifier()}
    return {**found, "messages": public(state["messages"]), "last": last_text(state)}
