"""`omium checkpoints`: the states that a run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omium.cli.output import (
    JsonFlag,
    cell,
    encode_json,
    fail,
    moment,
    plain,
    print_json,
    show_fields,
    show_more,
    show_table,
    size,
)
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="The states that a run left behind, one after each step.")

CheckpointId = Annotated[str, typer.Argument(metavar="CHECKPOINT_ID", help="Id of the checkpoint.")]


@app.command("list")
def list_(
    execution_id: Annotated[str, typer.Option(help="The run.")],
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the checkpoints of a run."""
    with connect() as client:
        answer = client.checkpoints.list(execution_id, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("checkpoint_number")),
            cell(item.get("id")),
            cell(item.get("checkpoint_name")),
            cell(size(item.get("state_size_bytes"))),
            moment(item.get("created_at")),
        )
        for item in answer.get("checkpoints", [])
    ]
    show_table(("number", "id", "name", "size", "created"), rows, "No checkpoints.")
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
