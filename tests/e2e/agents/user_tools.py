"""Tools as an operator registers them."""

from __future__ import annotations

from pathlib import Path

from omium import tool


@tool
def note_order(item: str, amount: int, folder: str, idempotency_key: str) -> dict[str, object]:
    """Notes an order: one line per call, with the key that tells a repetition from a new wish."""
    with (Path(folder) / "orders.txt").open("a") as orders:
        orders.write(f"{item} {amount} {idempotency_key}\n")
    return {"ordered": amount}


@tool
def look_up(item: str) -> str:
    """Looks an item up in a list that does not have it."""
    return {"tea": "a drink"}[item]


@tool(reversible=False)
def send_letter(text: str, folder: str) -> dict[str, str]:
    """Sends a letter: nobody gets it back."""
    with (Path(folder) / "letters.txt").open("a") as letters:
        letters.write(f"{text}\n")
    return {"sent": text}


@tool(inverse="release_seat")
def reserve_seat(text: str, folder: str, idempotency_key: str) -> dict[str, str]:
    """Reserves a seat."""
    with (Path(folder) / "seats.txt").open("a") as seats:
        seats.write(f"reserved {text}\n")
    return {"seat": text}


@tool
def release_seat(seat: str, folder: str) -> None:
    """Gives a seat back."""
    with (Path(folder) / "seats.txt").open("a") as seats:
        seats.write(f"released {seat}\n")
