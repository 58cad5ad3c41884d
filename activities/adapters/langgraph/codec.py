"""Values of graphs in code as JSON data, and back.

Plain JSON stays as it is. Everything else becomes an object with the key `MARK`: chat messages in LangChain's own form,
tuples and `Send` readable, the rest as LangGraph's own msgpack, with a readable copy for people. Reading builds only
types on an allow-list: LangGraph's safe ones, those in the graph's schema, those of the modules that the operator allows.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from typing import Any

import ormsgpack
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from pydantic_core import to_jsonable_python

from activities.adapters.base import Json
from activities.adapters.langgraph.view import MARK

_MESSAGES = frozenset(
    {AIMessage, AIMessageChunk, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage}
)
_PLAIN = frozenset({str, int, float, list, dict})
_INT64 = range(-(2**63), 2**63)


class Unserialisable(ValueError):
    """A value cannot be stored; the message says why."""


class Codec:
    """Writes and reads values. `allow` may be called at any time: the list only grows."""

    def __init__(self, allowed: Iterable[tuple[str, ...]] = ()) -> None:
        self._allowed: frozenset[tuple[str, ...]] = frozenset()
        self._serializer = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
        self.allow(allowed)

    def allow(self, types: Iterable[tuple[str, ...]]) -> None:
        """Lets values of more types be built, each as (module, name)."""
        extra = frozenset(types) - self._allowed
        if extra:
            self._allowed |= extra
            self._serializer = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=self._allowed)

    def encode(self, value: Any) -> Json:
        """A value as JSON data that shares nothing mutable with it. Raises `Unserialisable`."""
        kind = type(value)
        if value is None or kind is str or kind is bool:
            return value
        if kind is int and value in _INT64:
            return value
        if kind is float and math.isfinite(value):
            return value
        if kind is list:
            return [self.encode(item) for item in value]
        if kind is dict and all(type(key) is str for key in value):
            items = {key: self.encode(item) for key, item in value.items()}
            return {MARK: "object", "items": items} if MARK in items else items
        return self._encode_special(value)

    def decode(self, value: Json) -> Any:
        """The value again, as new objects."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if MARK not in value:
            return {key: self.decode(item) for key, item in value.items()}
        match value[MARK]:
            case "object":
                return {key: self.decode(item) for key, item in value["items"].items()}
            case "tuple":
                return tuple(self.decode(item) for item in value["items"])
            case "message":
                return messages_from_dict([self.decode(value["message"])])[0]
            case "send":
                return Send(value["node"], self.decode(value["input"]))
            case "int" | "float" as name:
                return _NUMBERS[name](value["shown"])
            case _:
                return self._serializer.loads_typed(("msgpack", base64.b64decode(value["data"])))

    def _encode_special(self, value: Any) -> Json:
        kind = type(value)
        if kind in _MESSAGES:
            assert isinstance(value, BaseMessage)
            return {MARK: "message", "message": self.encode(message_to_dict(value))}
        if kind is tuple:
            return {MARK: "tuple", "items": [self.encode(item) for item in value]}
        if kind is Send and getattr(value, "timeout", None) is None:
            return {MARK: "send", "node": value.node, "input": self.encode(value.arg)}
        if kind is int or kind is float:
            return {MARK: kind.__name__, "shown": repr(value)}
        return self._encode_packed(value)

    def _encode_packed(self, value: Any) -> Json:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        try:
            form, data = self._serializer.dumps_typed(value)
        except (TypeError, ValueError, ormsgpack.MsgpackEncodeError) as error:
            raise Unserialisable(f"a value of type {name} cannot be stored: {error}") from error
        if form != "msgpack":
            # LangGraph keeps bare bytes outside of msgpack.
            data = ormsgpack.packb(bytes(value))
        else:
            restored = self._serializer.loads_typed((form, data))
            if type(restored) is not kind:
                if type(restored) not in _PLAIN or not isinstance(value, type(restored)):
                    raise Unserialisable(
                        f"a value of type {name} would come back as something else: name the type in the graph's state "
                        "schema, at the top level of a module"
                    )
                # A text or a dictionary with methods of its own: what it holds is kept.
                return self.encode(restored)
        shown = to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings", fallback=repr)
        return {MARK: "msgpack", "type": name, "data": base64.b64encode(data).decode(), "shown": shown}


_NUMBERS: dict[str, Callable[[str], int | float]] = {"int": int, "float": float}
