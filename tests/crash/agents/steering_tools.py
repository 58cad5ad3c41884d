"""Tools that change a world which can be counted: one line in a file for each call, with its idempotency key."""

from __future__ import annotations

import json
import time
from pathlib import Path

from omium import tool


def _call(name: str, guest: str, folder: str, key: str) -> dict[str, str]:
    """Notes a call.

    A file `hold` keeps the first call of each key from answering until there is a file with the key's name: what it did
    has happened, and nobody knows.
    """
    lines = Path(folder) / "world.jsonl"
    is_first = not lines.exists() or key not in lines.read_text()
    with lines.open("a") as world:
        world.write(json.dumps({"tool": name, "guest": guest, "key": key, "at": time.time()}) + "\n")
    while is_first and (Path(folder) / "hold").exists() and not (Path(folder) / key).exists():
        time.sleep(0.01)
    return {"booking": key}


@tool(inverse="cancel_room")
def book_room(guest: str, folder: str, idempotency_key: str) -> dict[str, str]:
    """Books a room.

    Args:
        guest: Who sleeps in it.
        folder: Where the bookings lie.
    """
    return _call("book_room", guest, folder, idempotency_key)


@tool
def cancel_room(guest: str, folder: str, booking: str, idempotency_key: str) -> dict[str, str]:
    """Cancels a room."""
    return _call("cancel_room", guest, folder, idempotency_key)


def _free_seat(guest: str, folder: str, booking: str, idempotency_key: str) -> dict[str, str]:
    return _call("free_seat", guest, folder, idempotency_key)


@tool(inverse=_free_seat)
def hold_seat(guest: str, folder: str, idempotency_key: str) -> dict[str, str]:
    """Holds a seat.

    Args:
        guest: Who sits on it.
        folder: Where the bookings lie.
    """
    return _call("hold_seat", guest, folder, idempotency_key)
