"""`omium checkpoints`: the states that a run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omium.cli.inputs import Edit, EditsJson, edits_options, json_option
from omium.cli.output import (
    JsonFlag,
    cell,
    encode_json,
    fail,
    moment,
    plain,
    print_json,
    show,
    show_fields,
    show_more,
    show_table,
    size,
    status,
)
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="The states that a run left behind, one after each step.")

CheckpointId = Annotated[str, typer.Argument(metavar="CHECKPOINT_ID", help="Id of the checkpoint.")]


@app.command("list")
def list_(
    execution_id: Annotated[str, typer.Option(help="The run.")],
    kind: Annotated[str | None, typer.Option(help="step, named or base; without it all but base.")] = None,
    lineage: Annotated[int | None, typer.Option(help="Only those of this line of its history.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the checkpoints of a run."""
    with connect() as client:
        answer = client.checkpoints.list(execution_id, limit=limit, cursor=cursor, kind=kind, lineage=lineage)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("checkpoint_number")),
            cell(item.get("id")),
            cell(item.get("checkpoint_name")),
            cell(item.get("lineage")),
            cell(size(item.get("state_size_bytes"))),
            moment(item.get("created_at")),
        )
        for item in answer.get("checkpoints", [])
    ]
    show_table(("number", "id", "name", "lineage", "size", "created"), rows, "No checkpoints.")
    show_more(answer)


@app.command()
def get(checkpoint_id: CheckpointId, as_json: JsonFlag = False) -> None:
    """Show a checkpoint, without its state."""
    with connect() as client:
        checkpoint = client.checkpoints.get(checkpoint_id)
    if as_json:
        print_json(checkpoint)
        return
    show_fields(
        [
            ("id", cell(checkpoint.get("id"))),
            ("execution", cell(checkpoint.get("execution_id"))),
            ("number", cell(checkpoint.get("checkpoint_number"))),
            ("name", cell(checkpoint.get("checkpoint_name"))),
            ("lineage", cell(checkpoint.get("lineage"))),
            ("next step", cell(checkpoint.get("next_step"))),
            ("size", cell(size(checkpoint.get("state_size_bytes")))),
            ("checksum", cell(checkpoint.get("checksum"))),
            ("created", moment(checkpoint.get("created_at"))),
        ]
    )


@app.command()
def download(
    checkpoint_id: CheckpointId,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Where to write it; - is standard output.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The state as the framework keeps it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a checkpoint's data, {"checkpoint_id", "state"}, to a file. With --json it is (also) printed."""
    if output is None and not as_json:
        fail("Say where to write it with --output FILE, or print it with --json.", code=2)
    with connect() as client:
        data = client.checkpoints.get_data(checkpoint_id, raw=raw)
    if as_json or output == "-":
        print_json(data)
    if output is None or output == "-":
        return
    try:
        Path(output).write_bytes(encode_json(data) + b"\n")
    except OSError as error:
        fail(f"Cannot write {output}: {error.strerror}.")
    if not as_json:
        typer.echo(f"Checkpoint {plain(checkpoint_id)} is in {output}.")


@app.command()
def create(
    execution_id: Annotated[str, typer.Option(help="The run.")],
    name: Annotated[str, typer.Option(help="What the checkpoint is called.")],
    state: Annotated[
        str | None, typer.Option(metavar="JSON", help="Another state than the present one: JSON, @FILE, or -.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Give the state that a run stands on a name."""
    given = json_option(state, "--state") if state is not None else None
    with connect() as client:
        answer = client.checkpoints.create(execution_id, name, state=given)
    if as_json:
        print_json(answer)
        return
    checkpoint = answer.get("checkpoint", {})
    show_fields([("id", cell(checkpoint.get("id"))), ("number", cell(checkpoint.get("checkpoint_number")))])


@app.command()
def rollback(
    checkpoint_id: CheckpointId,
    reason: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    edit: Edit = None,
    edits: EditsJson = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on at once.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Agree that what cannot be undone stays.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never does it a second time.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take a run back to a checkpoint and undo what its tools did since."""
    changes = edits_options(edit, edits)
    with connect() as client:
        if dry_run:
            planned = client.checkpoints.plan_rollback(checkpoint_id, edits=changes)
        else:
            answer = client.checkpoints.rollback(
                checkpoint_id,
                reason=reason,
                edits=changes,
                resume=resume or None,
                confirm=confirm or None,
                idempotency_key=idempotency_key,
            )
    if as_json:
        print_json(planned if dry_run else answer)
        return
    if dry_run:
        from omium.cli.history import plan_view

        show(plan_view(planned.get("plan", {})))
        return
    execution, done = answer.get("execution", {}), answer.get("rollback") or {}
    show_fields(
        [
            ("rollback", cell(done.get("id"))),
            ("execution", cell(execution.get("id"))),
            ("status", status(execution.get("status"), execution.get("reason"))),
            ("lineage", cell(execution.get("lineage"))),
        ]
    )
    typer.echo(plain(answer.get("message")), err=True)


@app.command()
def delete(checkpoint_id: CheckpointId, as_json: JsonFlag = False) -> None:
    """Delete a checkpoint: nothing leads back to it. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.checkpoints.delete(checkpoint_id)
    if not as_json:
        typer.echo(f"Checkpoint {plain(checkpoint_id)} is deleted.")
