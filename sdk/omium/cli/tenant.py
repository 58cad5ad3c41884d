"""`omium tenant`: a copy of everything that is stored, its erasure, and for how long it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.audit import opened
from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import DataExport, Erasure

app = typer.Typer(no_args_is_help=True, help="The tenant's data: export, erasure, retention.")


@app.command()
def export(
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where the zip is to be written.")
    ] = None,
    user_id: Annotated[str | None, typer.Option(help="Only what is stored of this person.")] = None,
    export_id: Annotated[str | None, typer.Option("--id", help="An export that was begun before.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to wait until it is ready.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Export everything of the tenant, or of one person, as a zip with JSON lines."""
    with connect() as client:
        made = client.data_rights.get_export(export_id) if export_id else client.data_rights.export(user_id=user_id)
        if wait or output:
            made = client.data_rights.wait_for_export(str(made.get("id")))
        if made.get("status") == "failed":
            fail(f"The export failed: {made.get('error')}.")
        if output is not None:
            with opened(output) as file:
                client.data_rights.download_export(str(made.get("id")), file)
    if output == "-":
        return
    _show(made, output, as_json)


@app.command()
def erase(
    confirm: Annotated[str, typer.Option(metavar="SLUG", help="The tenant's slug, to be sure that it is meant.")],
    grace_days: Annotated[float, typer.Option(help="For so long it can be taken back with --cancel.")] = 0,
    password: Annotated[
        str | None, typer.Option(envvar="OMIUM_PASSWORD", help="Yours, if you signed in with one.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="The code of your app, if codes are asked for.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take it back, in the time of grace.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Erase the tenant: its keys first, so that no copy can be read, then everything else. This cannot be undone."""
    with connect() as client:
        if cancel:
            erasure = client.data_rights.cancel_erasure()
        else:
            erasure = client.data_rights.erase_tenant(confirm, grace_days, password, code)
    _show_erasure(erasure, as_json)


@app.command()
def retention(
    checkpoint_days: Annotated[int | None, typer.Option(help="Days for which checkpoints of ended runs stay.")] = None,
    trace_days: Annotated[int | None, typer.Option(help="Days for which calls, events and the like stay.")] = None,
    audit_days: Annotated[int | None, typer.Option(help="Days for which the audit log stays, at least.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show for how long things are kept, or change it."""
    changes = {"checkpoint_days": checkpoint_days, "trace_days": trace_days, "audit_days": audit_days}
    wanted = {name: days for name, days in changes.items() if days is not None}
    with connect() as client:
        kept = client.data_rights.change_retention(**wanted) if wanted else client.data_rights.retention()
    if as_json:
        print_json(kept)
        return
    show_fields([(name.removesuffix("_days"), cell(f"{days} days")) for name, days in sorted(kept.items())])


def _show(made: DataExport, output: str | None, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    fields = [
        ("export", cell(made.get("id"))),
        ("status", cell(made.get("status"))),
        ("rows", cell(made.get("rows_done"))),
        ("expires", moment(made.get("expires_at"))),
    ]
    if output is not None:
        fields.append(("file", cell(plain(output))))
    show_fields(fields)


def _show_erasure(erasure: Erasure, as_json: bool) -> None:
    if as_json:
        print_json(erasure)
        return
    show_fields(
        [
            ("erasure", cell(erasure.get("id"))),
            ("status", cell(erasure.get("status"))),
            ("due", moment(erasure.get("due_at"))),
        ]
    )
