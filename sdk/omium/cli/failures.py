"""`omium failures`: what went wrong in runs, why, and doing something about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.inputs import json_option
from omium.cli.output import (
    JsonFlag,
    cell,
    fail,
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
    from omium.types import Failure

app = typer.Typer(no_args_is_help=True, help="What went wrong in runs, why, and what is done about it.")

FailureId = Annotated[str, typer.Argument(metavar="FAILURE_ID", help="Id of the failure.")]


@app.command("list")
def list_(
    execution_id: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    status_: Annotated[
        str | None, typer.Option("--status", help="Only those in this status, such as unresolved.")
    ] = None,
    severity: Annotated[
        str | None, typer.Option(help="Only those as bad as this: low, medium, high, critical.")
    ] = None,
    failure_type: Annotated[str | None, typer.Option("--type", help="Only those of this type.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List failures, the newest first."""
    with connect() as client:
        answer = client.failures.list(
            execution_id=execution_id,
            status=status_,
            severity=severity,
            failure_type=failure_type,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            moment(item.get("created_at")),
            cell(item.get("id")),
            cell(item.get("execution_id")),
            cell(item.get("step_name")),
            cell(item.get("failure_type"), "red"),
            status(item.get("recovery_status")),
            cell(item.get("error_message")),
            cell(item.get("recovery_suggestion")),
        )
        for item in answer.get("failures", [])
    ]
    show_table(("when", "id", "execution", "step", "type", "status", "message", "suggestion"), rows, "No failures.")
    show_more(answer)


@app.command()
def get(failure_id: FailureId, as_json: JsonFlag = False) -> None:
    """Show a failure with its stack trace."""
    with connect() as client:
        failure = client.failures.get(failure_id)
    if as_json:
        print_json(failure)
        return
    _show_failure(failure)
    if failure.get("stack_trace"):
        typer.echo(f"\n{plain(failure['stack_trace'])}")


@app.command()
def analyze(failure_id: FailureId, as_json: JsonFlag = False) -> None:
    """Find out why it happened and what would help."""
    with connect() as client:
        answer = client.failures.analyze(failure_id)
    if as_json:
        print_json(answer)
        return
    analysis = answer.get("analysis", {})
    action = analysis.get("suggested_action", {})
    show_fields(
        [
            ("type", cell(analysis.get("failure_type"), "red")),
            ("severity", cell(analysis.get("severity"))),
            ("cause", cell(analysis.get("root_cause"))),
            ("what helps", cell(analysis.get("suggested_fix"))),
            ("recoverable", cell("yes" if analysis.get("is_recoverable") else "no")),
            ("alike", cell(f"{analysis.get('similar', 0)} in {analysis.get('similar_days', 0)} days")),
            ("suggested", cell(action.get("action_type"))),
        ]
    )
    if action.get("action_config"):
        print_json(action["action_config"])
    typer.echo(f"Do it with: omium failures recover {plain(failure_id)} --suggested", err=True)


@app.command()
def recover(
    failure_id: FailureId,
    action: Annotated[
        str | None,
        typer.Option(help="retry, rollback, prompt_edit, model_fallback, manual_intervention or escalate."),
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="JSON", help="Settings of the action: JSON, or @FILE, or - for standard input.")
    ] = "{}",
    suggested: Annotated[bool, typer.Option("--suggested", help="Do what the analysis suggests.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key is never a second action.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Do something about a failure."""
    if (action is None) == (not suggested):
        fail("Say what to do with --action, or take what the analysis says with --suggested.", code=2)
    settings: dict[str, Any] = json_option(config, "--config")
    with connect() as client:
        if suggested:
            wanted = client.failures.analyze(failure_id)["analysis"]["suggested_action"]
            action, settings = wanted["action_type"], {**wanted["action_config"], **settings}
        assert action is not None
        answer = client.failures.recover(failure_id, action, settings, idempotency_key=idempotency_key)
    if as_json:
        print_json(answer)
        return
    done, execution = answer.get("recovery_action", {}), answer.get("execution", {})
    show_fields(
        [
            ("action", cell(done.get("action_type"))),
            ("status", status(done.get("status"))),
            ("execution", cell(execution.get("id"))),
            ("run", status(execution.get("status"), execution.get("reason"))),
        ]
    )
    typer.echo(plain(answer.get("message")), err=True)


@app.command()
def resolve(
    failure_id: FailureId,
    note: Annotated[str | None, typer.Option(help="What was done about it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say that a failure was taken care of elsewhere."""
    with connect() as client:
        answer = client.failures.resolve(failure_id, note=note)
    if as_json:
        print_json(answer)
        return
    _show_failure(answer.get("failure", {}))


@app.command()
def actions(
    execution_id: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    failure_id: Annotated[str | None, typer.Option(help="Only those about this failure.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what was done about failures, by policies and by people."""
    with connect() as client:
        answer = client.failures.actions(execution_id=execution_id, failure_id=failure_id, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            moment(item.get("triggered_at")),
            cell(item.get("action_type")),
            status(item.get("status")),
            cell(item.get("trigger_type")),
            cell(item.get("failure_id")),
            cell(item.get("error") or (item.get("metadata") or {}).get("why")),
        )
        for item in answer.get("recovery_actions", [])
    ]
    show_table(("when", "action", "status", "by", "failure", "why"), rows, "Nothing was done.")
    show_more(answer)


def _show_failure(failure: Failure) -> None:
    show_fields(
        [
            ("failure", cell(failure.get("id"))),
            ("execution", cell(failure.get("execution_id"))),
            ("step", cell(failure.get("step_name"))),
            ("type", cell(failure.get("failure_type"), "red")),
            ("severity", cell(failure.get("severity"))),
            ("message", cell(failure.get("error_message"))),
            ("cause", cell(failure.get("root_cause"))),
            ("what helps", cell(failure.get("recovery_suggestion"))),
            ("recoverable", cell("yes" if failure.get("is_recoverable") else "no")),
            ("status", status(failure.get("recovery_status"))),
            ("when", moment(failure.get("created_at"))),
        ]
    )
