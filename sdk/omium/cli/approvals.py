"""`omium approvals`: what runs ask people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.inputs import json_value
from omium.cli.output import (
    JsonFlag,
    cell,
    moment,
    plain,
    print_json,
    show_fields,
    show_more,
    show_table,
    status,
)
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Approval, ApprovalEnvelope

app = typer.Typer(no_args_is_help=True, help="What runs ask people: list, look, answer.")

ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL_ID", help="Id of the approval.")]
Comment = Annotated[str | None, typer.Option(help="A remark that is kept with the answer.")]
Value = Annotated[
    str | None, typer.Option(metavar="JSON", help="Handed to the step: JSON, @FILE, or -; anything else is text.")
]


@app.command("list")
def list_(
    status_: Annotated[str | None, typer.Option("--status", help="Only those in this status, such as pending.")] = None,
    execution_id: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    assignee: Annotated[str | None, typer.Option(help="Only those for this person or role.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List approvals, the newest first."""
    with connect() as client:
        answer = client.approvals.list(
            status=status_, execution_id=execution_id, assignee=assignee, limit=limit, cursor=cursor
        )
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            status(item.get("status")),
            cell(item.get("title") or item.get("step_name")),
            cell(item.get("assignee")),
            moment(item.get("deadline")),
            cell(item.get("execution_id")),
        )
        for item in answer.get("approvals", [])
    ]
    show_table(("id", "status", "title", "assignee", "deadline", "execution"), rows, "No approvals.")
    show_more(answer)


@app.command()
def show(approval_id: ApprovalId, as_json: JsonFlag = False) -> None:
    """Show an approval with its question and its answer."""
    with connect() as client:
        approval = client.approvals.get(approval_id)
    if as_json:
        print_json(approval)
        return
    _show_fields(approval)
    print_json(approval.get("question"))
    if approval.get("answer") is not None:
        print_json(approval.get("answer"))


@app.command()
def approve(approval_id: ApprovalId, value: Value = None, comment: Comment = None, as_json: JsonFlag = False) -> None:
    """Let the step go on."""
    given = json_value(value, "--value") if value is not None else None
    with connect() as client:
        answer = client.approvals.approve(approval_id, comment=comment, value=given)
    _show_answer(answer, as_json)


@app.command()
def reject(approval_id: ApprovalId, value: Value = None, comment: Comment = None, as_json: JsonFlag = False) -> None:
    """Say no."""
    given = json_value(value, "--value") if value is not None else None
    with connect() as client:
        answer = client.approvals.reject(approval_id, comment=comment, value=given)
    _show_answer(answer, as_json)


@app.command()
def edit(
    approval_id: ApprovalId,
    value: Annotated[str, typer.Option(metavar="JSON", help="What to go on with: JSON, @FILE, or -; else text.")],
    comment: Comment = None,
    as_json: JsonFlag = False,
) -> None:
    """Let the step go on with something else than what it asked about."""
    given = json_value(value, "--value")
    with connect() as client:
        answer = client.approvals.edit(approval_id, given, comment=comment)
    _show_answer(answer, as_json)


def _show_fields(approval: Approval) -> None:
    show_fields(
        [
            ("approval", cell(approval.get("id"))),
            ("execution", cell(approval.get("execution_id"))),
            ("step", cell(approval.get("step_name"))),
            ("title", cell(approval.get("title"))),
            ("status", status(approval.get("status"))),
            ("assignee", cell(approval.get("assignee"))),
            ("deadline", moment(approval.get("deadline"))),
            ("at the deadline", cell(approval.get("default_decision"))),
            ("comment", cell(approval.get("comment"))),
        ]
    )


def _show_answer(answer: ApprovalEnvelope, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    approval, execution = answer.get("approval", {}), answer.get("execution", {})
    show_fields(
        [
            ("approval", cell(approval.get("id"))),
            ("status", status(approval.get("status"))),
            ("execution", cell(execution.get("id"))),
        ]
    )
    typer.echo(plain(answer.get("message")), err=True)
