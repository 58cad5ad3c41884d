"""`omium failures`: what went wrong in runs."""

from __future__ import annotations

from typing import Annotated

import typer

from omium.cli.output import JsonFlag, cell, moment, print_json, show_more, show_table
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="What went wrong in runs, and what is suggested.")


@app.command("list")
def list_(
    execution_id: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those in this status, such as unresolved.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List failures, the newest first."""
    with connect() as client:
        answer = client.failures.list(execution_id=execution_id, status=status, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            moment(item.get("created_at")),
            cell(item.get("execution_id")),
            cell(item.get("step_name")),
            cell(item.get("failure_type"), "red"),
            cell(item.get("error_message")),
            cell(item.get("recovery_suggestion")),
        )
        for item in answer.get("failures", [])
    ]
    show_table(("when", "execution", "step", "type", "message", "suggestion"), rows, "No failures.")
    show_more(answer)
