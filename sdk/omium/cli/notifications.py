"""`omium notifications`: what was told of runs, and to whom."""

from __future__ import annotations

from typing import Annotated

import typer

from omium.cli.output import JsonFlag, cell, moment, plain, print_json, show_more, show_table, status
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="What was told of runs, and to whom: list, send again.")


@app.command("list")
def list_(
    status_: Annotated[
        str | None, typer.Option("--status", help="Only those in this status: pending, sent, failed or dropped.")
    ] = None,
    execution_id: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List notifications, the newest first."""
    with connect() as client:
        answer = client.notifications.list(status=status_, execution_id=execution_id, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("event_type")),
            cell(item.get("target") or item.get("channel_type")),
            status(item.get("status")),
            cell(item.get("attempts")),
            moment(item.get("sent_at") or item.get("next_attempt_at")),
            cell(item.get("last_error")),
        )
        for item in answer.get("notifications", [])
    ]
    show_table(("id", "event", "to", "status", "attempts", "sent or due", "error"), rows, "No notifications.")
    show_more(answer)


@app.command()
def retry(
    notification_id: Annotated[str, typer.Argument(metavar="NOTIFICATION_ID", help="Id of the notification.")],
    as_json: JsonFlag = False,
) -> None:
    """Send a notification again that failed, was dropped, or waits."""
    with connect() as client:
        answer = client.notifications.retry(notification_id)
    if as_json:
        print_json(answer)
    else:
        typer.echo(plain(answer.get("message")))
