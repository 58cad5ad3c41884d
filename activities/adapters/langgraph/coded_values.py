"""Edits of the coded values of a graph in code, where JSON can say them: see `view.py` for their shape. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from activities.adapters.base import Edit, Json, JsonObject
from activities.adapters.langgraph.shape import suggest
from activities.adapters.langgraph.view import MARK, plain
from omium_core.errors import Problem

#: LangChain's types of messages, by the names that people and models use for them.
_ROLES = {
    "human": "human",
    "user": "human",
    "ai": "ai",
    "assistant": "ai",
    "system": "system",
    "developer": "system",
    "tool": "tool",
}


class _Unfit(ValueError):
    """A value cannot take the place of the present one; the message says why."""


def change(state: JsonObject, edit: Edit) -> Iterator[Problem]:
    """Lays an edit's values and inputs over a state; what does not fit is told with its path and left as it is."""
    present: JsonObject = state["values"]
    for name, value in edit.inputs.items():
        # A value that still is what the input said follows the input.
        if name in present and name in state["inputs"] and present[name] == coded(state["inputs"][name]):
            present[name] = coded(value)
    state["inputs"] = {**state["inputs"], **edit.inputs}
    for name, value in edit.values.items():
        if name not in present:
            hint = suggest(name, present) if present else " Before the first step, edit the inputs."
            yield Problem(f"values.{name}", f"The state holds no {name!r}.{hint}")
            continue
        try:
            present[name] = _replaced(present[name], value)
        except _Unfit as error:
            yield Problem(f"values.{name}", str(error))


def coded(value: Json) -> Json:
    """Plain JSON as the codec writes it: an object of a person's that looks like a mark is none."""
    if isinstance(value, list):
        return [coded(item) for item in value]
    if not isinstance(value, dict):
        return value
    items = {key: coded(item) for key, item in value.items()}
    return {MARK: "object", "items": items} if MARK in items else items


def _replaced(present: Json, value: Json) -> Json:
    """A new value in the form of the present one."""
    if _is_mark(present, "message"):
        return _message(value, [present], 0)
    if isinstance(present, list) and any(_is_mark(item, "message") for item in present):
        if not isinstance(value, list):
            raise _Unfit("This field holds messages: give an array of them.")
        return [_message(item, present, position) for position, item in enumerate(value)]
    if _is_mark(present, "tuple"):
        if not isinstance(value, list):
            raise _Unfit("This field holds several values: give an array.")
        return {MARK: "tuple", "items": coded(value)}
    if _holds_marks(present):
        raise _Unfit("This field holds values of types that JSON does not have: it cannot be edited.")
    return coded(value)


def _message(value: Json, present: list[Json], position: int) -> Json:
    """A message as people write it, `{role or type, content}`. One that has the id of a present message changes that."""
    if isinstance(value, str):
        value = {"role": "user", "content": value}
    if not isinstance(value, dict) or "content" not in value:
        raise _Unfit(f"Message {position} must be a text, or an object with `role` and `content`.")
    role = value.get("role", value.get("type"))
    if role not in _ROLES:
        raise _Unfit(f"Message {position} needs a `role`: one of user, assistant, system, tool.")
    given = {key: coded(item) for key, item in value.items() if key not in ("role", "type")}
    for item in present:
        if _is_mark(item, "message") and given.get("id") and item["message"]["data"].get("id") == given["id"]:
            if plain(item)["type"] != _ROLES[role]:
                break
            return {**item, "message": {**item["message"], "data": {**item["message"]["data"], **given}}}
    if _ROLES[role] == "tool" and "tool_call_id" not in given:
        raise _Unfit(f"Message {position} needs the `tool_call_id` of the call that it answers.")
    # Messages need ids, and an edit that is applied again must give the same ones.
    name = str(uuid5(NAMESPACE_OID, f"{position} {role} {given['content']!r}"))
    return {MARK: "message", "message": {"type": _ROLES[role], "data": {"id": name, **given, "type": _ROLES[role]}}}


def _is_mark(value: Any, kind: str) -> bool:
    return isinstance(value, dict) and value.get(MARK) == kind


def _holds_marks(value: Json) -> bool:
    if isinstance(value, list):
        return any(map(_holds_marks, value))
    if not isinstance(value, dict):
        return False
    if MARK in value:
        return not _is_mark(value, "object") or _holds_marks(value["items"])
    return any(map(_holds_marks, value.values()))
