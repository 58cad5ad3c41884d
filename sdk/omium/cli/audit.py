"""`omium audit`: who did what to which thing. `omium audit verify` belongs to the server, which has the database."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import AuditEntry

app = typer.Typer(no_args_is_help=True, help="Who did what to which thing: the audit log.")


class Format(StrEnum):
    jsonl = "jsonl"
    csv = "csv"


Action = Annotated[str | None, typer.Option(help="Only this action, such as execution.pause.")]
UserId = Annotated[str | None, typer.Option(help="Only what this person did.")]
ApiKeyId = Annotated[str | None, typer.Option(help="Only what was done with this API key.")]
ResourceType = Annotated[str | None, typer.Option(help="Only what was done to things of this kind, such as policy.")]
ResourceId = Annotated[str | None, typer.Option(help="Only what was done to this thing.")]
RequestId = Annotated[str | None, typer.Option(help="Only what this request did.")]
Status = Annotated[str | None, typer.Option(help="success, denied or failure.")]
Since = Annotated[str | None, typer.Option("--from", help="The first moment, such as 2026-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option("--to", help="The moment after the last one.")]


@app.command("list")
def list_(
    action: Action = None,
    user_id: UserId = None,
    api_key_id: ApiKeyId = None,
    resource_type: ResourceType = None,
    resource_id: ResourceId = None,
    request_id: RequestId = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List entries, the newest first; also what was refused."""
    with connect() as client:
        answer = client.audit.list(
            action=action,
            user_id=user_id,
            api_key_id=api_key_id,
            resource_type=resource_type,
            resource_id=resource_id,
            request_id=request_id,
            status=status,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        print_json(answer)
        return
    rows = [_row(entry) for entry in answer.get("audit_logs", [])]
    show_table(("when", "action", "status", "thing", "by", "address", "request"), rows, "No entries.")
    show_more(answer)


@app.command()
def export(
    format: Annotated[Format, typer.Option(help="JSON lines, or CSV with a heading.")] = Format.jsonl,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="- is standard output.")] = "-",
    action: Action = None,
    user_id: UserId = None,
    api_key_id: ApiKeyId = None,
    resource_type: ResourceType = None,
    resource_id: ResourceId = None,
    request_id: RequestId = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write all entries that match, the oldest first."""
    with connect() as client, opened(output) as file:
        size = client.audit.export(
            file,
            format.value,
            action=action,
            user_id=user_id,
            api_key_id=api_key_id,
            resource_type=resource_type,
            resource_id=resource_id,
            request_id=request_id,
            status=status,
            since=since,
            until=until,
        )
    if output != "-":
        typer.echo(f"{size} bytes in {plain(output)}.", err=True)


def opened(name: str) -> Any:
    """A file to write to; `-` is standard output."""
    if name == "-":
        stdout: IO[bytes] = sys.stdout.buffer
        return nullcontext(stdout)
    try:
        return Path(name).open("wb")
    except OSError as error:
        fail(f"{name} cannot be written: {error.strerror or error}.")


def _row(entry: AuditEntry) -> tuple[Any, ...]:
    who = entry.get("user_id") or entry.get("api_key_id") or (entry.get("metadata") or {}).get("source")
    style = {"denied": "yellow", "failure": "red"}.get(str(entry.get("status")), "")
    return (
        moment(entry.get("timestamp")),
        cell(entry.get("action")),
        cell(entry.get("status"), style),
        cell(f"{entry.get('resource_type')} {entry.get('resource_id') or ''}".strip()),
        cell(who),
        cell(entry.get("ip_address")),
        cell(entry.get("request_id")),
    )
