"""`omium budgets`: what may be spent, by whom, in which time."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Budget

app = typer.Typer(no_args_is_help=True, help="What may be spent, by whom, in which time. Amounts are in credits.")


class Scope(StrEnum):
    tenant = "tenant"
    workflow = "workflow"
    api_key = "api_key"
    execution = "execution"


class Period(StrEnum):
    total = "total"
    month = "month"


@app.command("list")
def list_(
    scope: Annotated[Scope | None, typer.Option(help="Only those of this kind.")] = None,
    scope_id: Annotated[str | None, typer.Option("--id", help="Only those of this workflow, key or run.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List budgets and what is spent of them, the newest first."""
    with connect() as client:
        answer = client.budgets.list(
            scope=None if scope is None else scope.value, scope_id=scope_id, limit=limit, cursor=cursor
        )
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("scope")),
            cell(item.get("scope_id") or ""),
            cell(item.get("period")),
            cell(item.get("amount")),
            cell(item.get("spent")),
            cell(item.get("remaining")),
            cell(f"{item.get('used_percent', 0):g} %"),
        )
        for item in answer.get("budgets", [])
    ]
    show_table(("id", "scope", "for", "period", "amount", "spent", "left", "used"), rows, "No budgets.")
    show_more(answer)


@app.command("set")
def set_(
    amount: Annotated[float, typer.Argument(metavar="CREDITS", help="What may be spent.", min=0)],
    scope: Annotated[Scope, typer.Option(help="Whose spending it limits.")] = Scope.tenant,
    scope_id: Annotated[str | None, typer.Option("--id", help="The workflow, key or run that it is for.")] = None,
    period: Annotated[Period, typer.Option(help="In all, or in each month.")] = Period.total,
    threshold: Annotated[
        list[int] | None, typer.Option(help="Percent at which people are told; may be given several times.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a budget, or change the one that there is. Raised, it wakes the runs that wait for it."""
    if (scope is Scope.tenant) != (scope_id is None):
        fail("Give --id for the workflow, key or run that the budget is for, and none for the tenant's.", code=2)
    with connect() as client:
        there = client.budgets.list(scope=scope.value, scope_id=scope_id, period=period.value, limit=1)
        if there.get("budgets"):
            budget = client.budgets.update(there["budgets"][0]["id"], amount=amount, thresholds=threshold)
        else:
            budget = client.budgets.create(
                scope.value, amount, scope_id=scope_id, period=period.value, thresholds=threshold
            )
    _show(budget, as_json)


@app.command()
def delete(
    budget_id: Annotated[str, typer.Argument(metavar="BUDGET_ID", help="Id of the budget.")],
    as_json: JsonFlag = False,
) -> None:
    """Take a budget away; runs that wait for it go on. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.budgets.delete(budget_id)
    if not as_json:
        typer.echo(f"Budget {plain(budget_id)} is deleted.")


def _show(budget: Budget, as_json: bool) -> None:
    if as_json:
        print_json(budget)
        return
    show_fields(
        [
            ("budget", cell(budget.get("id"))),
            ("for", cell(" ".join(str(part) for part in (budget.get("scope"), budget.get("scope_id")) if part))),
            ("period", cell(budget.get("period"))),
            ("amount", cell(budget.get("amount"))),
            ("spent", cell(budget.get("spent"))),
            ("left", cell(budget.get("remaining"))),
            *([("begins anew", moment(budget.get("resets_at")))] if budget.get("resets_at") else []),
        ]
    )
