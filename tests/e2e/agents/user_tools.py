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
