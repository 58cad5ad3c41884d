"""How the local stack looks to a person."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from workers.local.status import StackStatus


def addresses(console: Console, stack: dict[str, Any]) -> None:
    """The panel that `omium up` ends with."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("API", stack["api_url"])
    table.add_row("API docs", f"{stack['api_url']}/docs")
    table.add_row("API key", stack["api_key"])
    table.add_row("Temporal Web UI", stack["temporal_ui_url"])
    table.add_row("Temporal", f"{stack['temporal_address']} (namespace {stack['temporal_namespace']})")
    table.add_row("PostgreSQL", stack["database_url"])
    table.add_row("Logs", stack["log_dir"])
    pids = "  ".join(f"{name} {pid}" for name, pid in stack["pids"].items())
    console.print(Panel(Group(table, Text(f"\nProcesses: {pids}", style="dim")), title="Omium is up", expand=False))


def status(console: Console, found: StackStatus) -> None:
    """The table of `omium status`."""
    table = Table(title=f"Omium on {found.data_dir}")
    for heading in ("part", "state", "process", "address", "age"):
        table.add_column(heading)
    for part in found.parts:
        state = Text("up", style="green") if part.up else Text(part.problem, style="red")
        age = "" if part.age is None else _age(part.age)
        table.add_row(part.name, state, str(part.pid or ""), part.address, age)
    console.print(table)


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
