"""The log of the scripted model server: every call, in order of arrival, and the way to wait for what it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CallState = Literal["arrived", "held", "answering", "finished", "disconnected", "dropped"]


@dataclass
class Call:
    """One request to a model, counted from 1 in the order of arrival.

    `disconnected` says that the client went before the answer was complete, `dropped` that the script cut the connection.
    """

    number: int
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    state: CallState = "arrived"
    #: The gate at which the call waits or waited.
    gate: str | None = None
    status: int | None = None
    arrived_at: float = field(default_factory=time.time)
    ended_at: float | None = None


class CallLog:
    """Calls and their states. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """All calls so far."""
        with self._changed:
            return list(self._calls)

    def arrive(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> Call:
        with self._changed:
            call = Call(len(self._calls) + 1, path, body, dict(headers))
            self._calls.append(call)
            self._changed.notify_all()
        return call

    def mark(self, call: Call, state: CallState, *, status: int | None = None) -> None:
        with self._changed:
            call.state = state
            call.status = status if status is not None else call.status
            if state in ("finished", "disconnected", "dropped"):
                call.ended_at = time.time()
            self._changed.notify_all()

    def clear(self) -> None:
        """Empties the log: the next call is number 1."""
        with self._changed:
            self._calls.clear()

    def wait_for(self, condition: Callable[[list[Call]], bool], timeout: float) -> list[Call]:
        """Waits until the log fulfils a condition; returns the log. `TimeoutError` shows what was there instead."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self._calls), timeout):
                seen = ", ".join(f"{call.number}:{call.state}" for call in self._calls) or "no call"
                raise TimeoutError(f"the model server waited {timeout:g} s in vain; it has {seen}")
            return list(self._calls)
