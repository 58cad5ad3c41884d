"""Following a run to its end, in the three ways of the command line. Each answers the exit code of the command.

`omium demo` and others may use `watch` too: it takes any `OmiumClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from omium.cli.output import console, plain, print_json
from omium.cli.views import elapsed, run_view, show_result
from omium.errors import OmiumError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from omium.client import OmiumClient
    from omium.types import Execution

#: Longest pause between two looks, in seconds.
POLL_INTERVAL = 0.5
#: Exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130

OUTAGE = "The API does not answer; trying again ..."


def exit_code(execution: Execution) -> int:
    """0 only for a run that completed."""
    return 0 if execution.get("status") == "completed" else 1


def wait_quietly(client: OmiumClient, execution_id: str, timeout: float | None = None) -> int:
    """Prints the run as JSON once it has ended."""
    execution = client.executions.wait_for_completion(execution_id, timeout=timeout, poll_interval=POLL_INTERVAL)
    print_json(execution)
    return exit_code(execution)


def stream(client: OmiumClient, execution_id: str, timeout: float | None = None) -> int:
    """Prints the run as one line of JSON each time it has moved."""
    execution = client.executions.wait_for_completion(
        execution_id,
        timeout=timeout,
        poll_interval=POLL_INTERVAL,
        on_change=lambda changed: print_json(changed, indent=None),
    )
    return exit_code(execution)


def watch(client: OmiumClient, execution_id: str, timeout: float | None = None) -> int:
    """Shows the run live on a terminal, or one line for each change elsewhere; then its result."""
    follow = _follow_live if console().is_terminal else _follow_lines
    try:
        execution = follow(client, execution_id, timeout)
    except KeyboardInterrupt:
        typer.echo(f"No longer watching. The run goes on: omium executions watch {plain(execution_id)}", err=True)
        return INTERRUPTED
    show_result(execution)
    return exit_code(execution)


class _LiveView:
    """What rich draws: asked anew several times a second, so that the clock moves between two answers."""

    def __init__(self) -> None:
        self.execution: Execution = {}
        self.note = "Waiting for the API ..."

    def changed(self, execution: Execution) -> None:
        self.execution, self.note = execution, ""

    def outage(self, error: OmiumError) -> None:
        self.note = OUTAGE

    def __rich__(self) -> RenderableType:
        return run_view(self.execution, self.note)


def _follow_live(client: OmiumClient, execution_id: str, timeout: float | None) -> Execution:
    from rich.live import Live

    view = _LiveView()
    with Live(view, console=console(), refresh_per_second=5):
        return client.executions.wait_for_completion(
            execution_id, timeout, POLL_INTERVAL, on_change=view.changed, on_outage=view.outage
        )


def _follow_lines(client: OmiumClient, execution_id: str, timeout: float | None) -> Execution:
    last: dict[str, str] = {}

    def tell(subject: str, state: str | None, line: str) -> None:
        if last.get(subject) != state:
            last[subject] = str(state)
            typer.echo(plain(line))

    def changed(execution: Execution) -> None:
        for index, agent in enumerate(execution.get("agents") or []):
            state = agent.get("status")
            tell(f"step {index}", state, f"  {agent.get('name')}: {state}")
        status = execution.get("status")
        tell("run", status, f"{status} after {elapsed(execution) or '0 s'}")

    def outage(error: OmiumError) -> None:
        typer.echo(OUTAGE, err=True)

    return client.executions.wait_for_completion(
        execution_id, timeout, POLL_INTERVAL, on_change=changed, on_outage=outage
    )
