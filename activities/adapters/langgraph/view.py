"""A state for people: plain JSON without markers. Pure: the API shows states without loading LangGraph.

A state is `{"format", "inputs", "values", "next", "graph", "coded"?, "children"?}`: `values` are the state fields,
`next` the nodes that run next, `graph` LangGraph's bookkeeping. In a `coded` state (a graph in code) the values that
JSON cannot express are objects with the key `MARK`; `codec.py` writes and reads them.
"""

from __future__ import annotations

from typing import Any

from activities.adapters.base import Json, JsonObject

#: Key of an object that stands for a value which JSON cannot express.
MARK = "__omium__"

FORMAT = 1


def view(state: JsonObject) -> JsonObject:
    """The values of a state and the nodes that run next."""
    values = state["values"]
    return {"values": plain(values) if state.get("coded") else values, "next": state["next"]}


def plain(value: Json) -> Json:
    """A coded value as people read it: messages as objects, sets as arrays, dates as text."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if MARK not in value:
        return {key: plain(item) for key, item in value.items()}
    match value[MARK]:
        case "message":
            return _message(value["message"])
        case "send":
            return {"node": value["node"], "input": plain(value["input"])}
        case "object":
            return {key: plain(item) for key, item in value["items"].items()}
        case "tuple":
            return [plain(item) for item in value["items"]]
        case _:
            return value["shown"]


def _message(message: JsonObject) -> JsonObject:
    """A chat message: its role and what it holds, without the fields that are empty."""
    data: dict[str, Any] = plain(message["data"])
    filled = {key: item for key, item in data.items() if item not in (None, [], {}, False) and key != "type"}
    return {"type": message["type"], "content": "", **filled}
