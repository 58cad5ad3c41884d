"""How `omium billing` shows prices and rebuilt books to people, and books to programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from models.ledger_rebuild import Difference, Rebuilt
from omium_core.credits import to_credits

_LEGS = ("available", "held", "spent", "outside")
_KINDS = ("model", "tool", "step", "storage")
_PIPE_WIDTH = 240
_AMOUNTS = ("per_call", "input_per_1m", "cached_per_1m", "output_per_1m")


def rebuilt_as_json(found: Sequence[Rebuilt]) -> dict[str, Any]:
    """Amounts are in millionths of a credit, so that nothing is rounded."""
    return {
        "valid": not any(_left(one) for one in found),
        "tenants": [
            {
                "tenant_id": str(one.tenant_id),
                "entries": one.books.number,
                **{f"{name}_micro": getattr(one.books, name) for name in _LEGS},
                "repaired": one.repaired,
                "differences": [
                    {
                        "what": each.what,
                        **_both(each),
                        "repaired": one.repaired and each.repairable,
                    }
                    for each in one.differences
                ],
            }
            for one in found
        ],
    }


def show_rebuilt(found: Sequence[Rebuilt]) -> None:
    """The books of all tenants, and every difference."""
    console = _console()
    table = _table("tenant", "entries", *_LEGS, "sum", "differences")
    for one in found:
        legs = [getattr(one.books, name) for name in _LEGS]
        table.add_row(
            str(one.tenant_id),
            str(one.books.number),
            *(str(to_credits(leg)) for leg in legs),
            str(to_credits(sum(legs))),
            str(len(one.differences)),
        )
    console.print(table)
    wrong = [(one, each) for one in found for each in one.differences]
    if not wrong:
        console.print("[green]The tables say what the entries do.[/green]")
        return
    differences = _table("tenant", "what", "expected", "found", "repaired")
    for one, each in wrong:
        repaired = "yes" if one.repaired and each.repairable else "no"
        # in millionths: a difference may be one of them
        differences.add_row(str(one.tenant_id), each.what, str(each.expected), str(each.found), repaired)
    console.print(differences)
    console.print("Amounts of differences are in millionths of a credit.")


def show_prices(found: Sequence[dict[str, Any]]) -> None:
    table = _table("for", "name", *(name.replace("_", " ") for name in _AMOUNTS), "from", "tenant", "holds")
    for price in found:
        kind = next(kind for kind in _KINDS if kind in price)
        table.add_row(
            kind,
            "" if price[kind] is True else price[kind],
            *("" if price[name] is None else str(price[name]) for name in _AMOUNTS),
            price["effective_from"],
            price["tenant_id"] or "all",
            "withdrawn" if price["withdrawn"] else "yes" if price["current"] else "no",
        )
    _console().print(table if table.row_count else "No prices.")


def _both(each: Difference) -> dict[str, Any]:
    if isinstance(each.expected, int):
        return {"expected_micro": each.expected, "found_micro": each.found}
    return {"expected": each.expected, "found": each.found}


def _left(one: Rebuilt) -> bool:
    return any(not (one.repaired and each.repairable) for each in one.differences)


def _console() -> Console:
    # ids stay whole where no terminal says how wide it is, for `grep` and `cut`
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
