"""A run as people see it: its head, its steps, its result. Used by `get` and `watch`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from omium.cli.output import cell, duration, field_grid, print_json, show, status
from omium.types import Agent, Execution


def run_view(execution: Execution, note: str = "") -> RenderableType:
    """Head and steps of a run; `note` is a line below."""
    parts = [field_grid(_head(execution))]
    if agents := execution.get("agents"):
        parts.append(_steps(agents))
    if note:
        parts.append(cell(note, "yellow"))
    return Group(*parts)


def _head(execution: Execution) -> Iterator[tuple[str, RenderableType]]:
    yield "execution", cell(execution.get("id"))
    yield "status", status(execution.get("status"), execution.get("reason"))
    if step := _step(execution):
        yield "step", cell(step)
    if spent := elapsed(execution):
        yield "elapsed", cell(spent)
    agents = execution.get("agents") or []
    yield "model calls", cell(sum(agent.get("llm_calls") or 0 for agent in agents))
    yield "tokens", cell(sum(agent.get("tokens_used") or 0 for agent in agents))
    yield "checkpoints", cell(execution.get("checkpoint_count") or 0)
    if url := (execution.get("temporal") or {}).get("ui_url"):
        yield "Temporal", cell(url)


def _step(execution: Execution) -> str:
    progress = execution.get("progress") or {}
    current, total = progress.get("current_step"), progress.get("total_steps")
    if current is None:
        return ""
    return f"{current} of {total}" if total else str(current)


def elapsed(execution: Execution) -> str:
    """How long a run has taken, up to now if it goes on."""
    started = execution.get("started_at")
    if execution.get("completed_at") or not started:
        return duration(execution.get("duration_ms"))
    began = datetime.fromisoformat(started)
    # the server's clock may be a little ahead of ours
    return duration(max(0.0, (datetime.now(UTC) - began).total_seconds() * 1000))


def _steps(agents: list[Agent]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "state", "attempt", "model calls", "tool calls", "tokens", "time"):
        table.add_column(name, justify="left" if name in ("step", "state") else "right")
    for agent in agents:
        table.add_row(
            cell(agent.get("name")),
            status(agent.get("status")),
            cell(agent.get("attempt")),
            cell(agent.get("llm_calls")),
            cell(agent.get("tool_calls")),
            cell(agent.get("tokens_used")),
            cell(duration(agent.get("duration_ms"))),
        )
    return table


def show_result(execution: Execution) -> None:
    """Prints what came out: the outputs, or why it failed."""
    if message := execution.get("error_message") or execution.get("error"):
        show(cell(message, "red"))
    if execution.get("outputs") is not None:
        print_json(execution["outputs"])
