"""`omium executions`: runs, how they stand, and watching them."""

from __future__ import annotations

from typing import Annotated

import typer

from omium.cli.output import (
    JsonFlag,
    cell,
    duration,
    moment,
    plain,
    print_json,
    show,
    show_fields,
    show_more,
    show_table,
    status,
)
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="Runs of workflows: list, look, watch, take up again.")

ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION_ID", help="Id of the run.")]


@app.command("list")
def list_(
    status_: Annotated[str | None, typer.Option("--status", help="Only runs in this status, such as running.")] = None,
    workflow_id: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    framework: Annotated[str | None, typer.Option(help="Only runs of this framework.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List runs, the newest first."""
    with connect() as client:
        answer = client.executions.list(
            status=status_, workflow_id=workflow_id, limit=limit, cursor=cursor, framework=framework
        )
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            status(item.get("status"), item.get("reason")),
            cell(item.get("framework")),
            moment(item.get("started_at")),
            cell(duration(item.get("duration_ms"))),
            cell(item.get("workflow_id")),
        )
        for item in answer.get("executions", [])
    ]
    show_table(("id", "status", "framework", "started", "duration", "workflow"), rows, "No runs.")
    show_more(answer)


@app.command()
def get(execution_id: ExecutionId, as_json: JsonFlag = False) -> None:
    """Show a run: status, steps, result."""
    with connect() as client:
        execution = client.executions.get(execution_id)
    if as_json:
        print_json(execution)
        return
    from omium.cli.views import run_view, show_result

    show(run_view(execution))
    show_result(execution)


@app.command()
def watch(
    execution_id: ExecutionId,
    timeout: Annotated[float | None, typer.Option(help="Seconds to watch at most.", min=0)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON for each change.")] = False,
) -> None:
    """Show a run while it goes on, then its result. Exit code 0 only if it completed."""
    from omium.cli.watch import stream, watch

    with connect() as client:
        raise typer.Exit((stream if as_json else watch)(client, execution_id, timeout=timeout))


@app.command()
def retry(
    execution_id: ExecutionId,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never does it a second time.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take up a failed run again from its last checkpoint."""
    with connect() as client:
        answer = client.executions.retry(execution_id, idempotency_key=idempotency_key)
    if as_json:
        print_json(answer)
        return
    execution = answer.get("execution", {})
    show_fields([("execution", cell(execution.get("id"))), ("status", status(execution.get("status")))])
    typer.echo(plain(answer.get("message")), err=True)
