"""A service outside of the platform, with tools that change it and tools that change it back.

It does what a good service does: the same key is carried out once and answered the same way again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from activities.tools.functions import from_function
from activities.tools.registry import ToolRegistry


class Killed(BaseException):
    """The process dies here."""


class Clock:
    """Counts moments at which a process may die, and ends it at the one that was chosen; 0 is never."""

    def __init__(self, deadly: int = 0) -> None:
        self.deadly = deadly
        self.now = 0

    def tick(self) -> None:
        self.now += 1
        if self.now == self.deadly:
            raise Killed


class Service:
    """Orders by their ids. `log` holds what was done, once for each key, in order; `calls` counts calls by key."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.orders: dict[str, str] = {}
        self.log: list[tuple[str, str]] = []
        self.calls: dict[str, int] = {}
        self.broken: set[str] = set()
        self._answers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def tools(self) -> ToolRegistry:
        return ToolRegistry(
            [
                from_function(self.order, inverse="cancel"),
                from_function(self.cancel),
                from_function(self.mail, reversible=False),
                from_function(self.note, reversible=True),
                from_function(self.look),
                from_function(self.reserve, inverse=self.release),
            ]
        )

    def order(self, item: str, idempotency_key: str) -> dict[str, str]:
        """Orders an item."""

        def work() -> dict[str, str]:
            order_id = f"order-{len(self._answers)}"
            self.orders[order_id] = item
            return {"order_id": order_id}

        return self._once("order", idempotency_key, work)

    def cancel(self, order_id: str, idempotency_key: str) -> None:
        """Cancels an order."""
        self._once("cancel", idempotency_key, lambda: self.orders.pop(order_id))

    def mail(self, text: str, idempotency_key: str) -> str:
        """Sends a text."""
        return self._once("mail", idempotency_key, lambda: text)

    def note(self, text: str, idempotency_key: str) -> str:
        """Takes a note that does no harm."""
        return self._once("note", idempotency_key, lambda: text)

    def look(self) -> list[str]:
        """The items that are ordered."""
        return sorted(self.orders.values())

    def reserve(self, seat: str, row: int, idempotency_key: str) -> str:
        """Reserves a seat."""
        return self._once("reserve", idempotency_key, lambda: f"{row}{seat}")

    def release(self, result: str, arguments: dict[str, Any], row: int, idempotency_key: str) -> None:
        if result != f"{row}{arguments['seat']}":
            raise ValueError("wrong arguments")
        self._once("release", idempotency_key, lambda: None)

    def done(self, action: str) -> list[str]:
        return [key for name, key in self.log if name == action]

    def _once(self, action: str, key: str, work: Callable[[], Any]) -> Any:
        self.clock.tick()
        with self._lock:
            self.calls[key] = self.calls.get(key, 0) + 1
            if action in self.broken:
                raise RuntimeError(f"{action} is out of order")
            if key not in self._answers:
                self._answers[key] = work()
                self.log.append((action, key))
        self.clock.tick()
        return self._answers[key]
