"""`omium consensus`: handoffs between agents that are voted on."""

from __future__ import annotations

from typing import Annotated

import typer

from omium.cli.output import JsonFlag, cell, plain, print_json, show_fields, show_more, show_table, status
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="Handoffs between agents that are voted on: look, vote.")


@app.command()
def show(
    execution_id: Annotated[str, typer.Argument(metavar="EXECUTION_ID", help="Id of the run.")],
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a run's log of handoffs and how the votes stand."""
    with connect() as client:
        answer = client.consensus.get(execution_id, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    show_fields([("term", cell(answer.get("current_term"))), ("leader", cell(answer.get("leader")))])
    rows = [
        (
            cell(entry.get("log_index")),
            cell(entry.get("id")),
            cell(f"{entry.get('sender')} -> {', '.join(entry.get('receivers') or [])}"),
            status(entry.get("status")),
            cell(f"{entry.get('acks_received')} of {entry.get('acks_required')}"),
            cell(
                ", ".join(f"{ack.get('voter')} {'yes' if ack.get('valid') else 'no'}" for ack in entry.get("acks", []))
            ),
        )
        for entry in answer.get("logs", [])
    ]
    show_table(("index", "id", "handoff", "status", "votes", "by"), rows, "No handoffs.")
    show_more(answer)


@app.command()
def acknowledge(
    log_id: Annotated[str, typer.Argument(metavar="LOG_ID", help="Id of the log entry.")],
    agent: Annotated[str, typer.Option("--agent", help="In whose name: a voter's name, or the id of its step.")],
    reject: Annotated[bool, typer.Option("--reject", help="Vote against it.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    term: Annotated[int | None, typer.Option(help="The term that is meant; else the present one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Vote on a handoff. Exit code 0 only if the vote counts."""
    with connect() as client:
        answer = client.consensus.acknowledge(log_id, agent, valid=not reject, reason=reason, term=term)
    if as_json:
        print_json(answer)
    else:
        show_fields(
            [
                ("votes", cell(f"{answer.get('total_acks')} of {answer.get('acks_required')}")),
                ("agreed", cell("yes" if answer.get("consensus_reached") else "no")),
            ]
        )
        typer.echo(plain(answer.get("message")), err=True)
    if not (answer.get("success") or answer.get("acknowledgement_requested")):
        raise typer.Exit(1)
