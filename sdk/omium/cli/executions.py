"""`omium executions`: runs, how they stand, and watching them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.inputs import Edit, EditsJson, edits_options, json_option
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

if TYPE_CHECKING:
    from omium.types import ExecutionEnvelope

app = typer.Typer(no_args_is_help=True, help="Runs of workflows: list, look, watch, steer.")

ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION_ID", help="Id of the run.")]
IdempotencyKey = Annotated[str | None, typer.Option(help="The same key never does it a second time.")]
Reason = Annotated[str | None, typer.Option(help="Why, for those who read it later.")]


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
def retry(execution_id: ExecutionId, idempotency_key: IdempotencyKey = None, as_json: JsonFlag = False) -> None:
    """Take up a failed run again from its last checkpoint."""
    with connect() as client:
        answer = client.executions.retry(execution_id, idempotency_key=idempotency_key)
    _show_action(answer, as_json)


@app.command()
def pause(
    execution_id: ExecutionId,
    reason: Reason = None,
    hard: Annotated[bool, typer.Option("--hard", help="Cancel the step in flight; it begins again later.")] = False,
    idempotency_key: IdempotencyKey = None,
    as_json: JsonFlag = False,
) -> None:
    """Let the step in flight end, then stand still."""
    with connect() as client:
        answer = client.executions.pause(
            execution_id, reason=reason, mode="hard" if hard else None, idempotency_key=idempotency_key
        )
    _show_action(answer, as_json)


@app.command()
def resume(execution_id: ExecutionId, idempotency_key: IdempotencyKey = None, as_json: JsonFlag = False) -> None:
    """Go on after a pause or a rollback, from the last checkpoint."""
    with connect() as client:
        answer = client.executions.resume(execution_id, idempotency_key=idempotency_key)
    _show_action(answer, as_json)


@app.command()
def cancel(
    execution_id: ExecutionId,
    reason: Reason = None,
    idempotency_key: IdempotencyKey = None,
    as_json: JsonFlag = False,
) -> None:
    """End a run now. It can be retried, rolled back or forked afterwards."""
    with connect() as client:
        answer = client.executions.cancel(execution_id, reason=reason, idempotency_key=idempotency_key)
    _show_action(answer, as_json)


@app.command()
def fork(
    execution_id: ExecutionId,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="Id of the checkpoint to begin from.")],
    edit: Edit = None,
    edits: EditsJson = None,
    inputs: Annotated[str | None, typer.Option(metavar="JSON", help="Inputs that change: JSON, @FILE, or -.")] = None,
    idempotency_key: IdempotencyKey = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a new run from a checkpoint of this one, which stays as it is."""
    changes = edits_options(edit, edits)
    given = json_option(inputs, "--inputs") if inputs is not None else None
    with connect() as client:
        answer = client.executions.fork(
            execution_id, checkpoint, edits=changes, inputs=given, idempotency_key=idempotency_key
        )
    _show_action(answer, as_json)


@app.command()
def lineage(execution_id: ExecutionId, as_json: JsonFlag = False) -> None:
    """Show the history of a run as a tree: what rollbacks left behind, and what they began."""
    with connect() as client:
        answer = client.executions.lineage(execution_id)
    if as_json:
        print_json(answer)
        return
    from omium.cli.history import lineage_view

    show(lineage_view(answer))


def _show_action(answer: ExecutionEnvelope, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    execution = answer.get("execution", {})
    show_fields(
        [
            ("execution", cell(execution.get("id"))),
            ("status", status(execution.get("status"), execution.get("reason"))),
        ]
    )
    typer.echo(plain(answer.get("message")), err=True)
