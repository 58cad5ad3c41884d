"""`omium billing`: credits, where they went, and how more are bought.

`grant`, `adjust`, `rebuild` and what changes prices belong to the server, which has the database.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from omium.cli.output import JsonFlag, cell, moment, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

app = typer.Typer(no_args_is_help=True, help="Credits: the balance, movements, usage, prices, payments.")
prices = typer.Typer(help="What models, tools, steps and storage cost.")
app.add_typer(prices, name="prices")


class Period(StrEnum):
    day = "day"
    week = "week"
    month = "month"
    year = "year"
    all = "all"


class GroupBy(StrEnum):
    day = "day"
    model = "model"
    tool = "tool"
    workflow = "workflow"
    api_key = "api_key"
    execution = "execution"
    agent = "agent"
    type = "type"


Start = Annotated[str | None, typer.Option("--from", help="The first day or moment, such as 2026-01-31.")]
End = Annotated[str | None, typer.Option("--to", help="The last day, or the moment after the last one.")]


@app.command()
def balance(as_json: JsonFlag = False) -> None:
    """Show what the tenant has, and the lots that it is made of."""
    with connect() as client:
        found = client.billing.get_balance()
    if as_json:
        print_json(found)
        return
    show_fields(
        [
            ("balance", cell(f"{amount(found.get('balance'))} credits ({found.get('balance_usd', 0):,.2f} USD)")),
            ("available", cell(amount(found.get("available")))),
            ("held", cell(f"{amount(found.get('held'))} for calls under way")),
            ("spent", cell(amount(found.get("spent")))),
            *([("unpaid", cell(amount(found["unpaid"])))] if found.get("unpaid") else []),
            ("last top-up", moment(found.get("last_topup_at"))),
            ("without credits", cell("runs wait" if found.get("enforced") else "runs go on")),
            *([("low", cell(f"below {amount(found.get('low_credits'))}", "yellow"))] if found.get("is_low") else []),
            *([("waiting runs", cell(found["parked_runs"], "yellow"))] if found.get("parked_runs") else []),
        ]
    )
    rows = [
        (
            cell(lot.get("source")),
            cell(amount(lot.get("remaining"))),
            cell(amount(lot.get("amount"))),
            moment(lot.get("expires_at")),
            moment(lot.get("created_at")),
        )
        for lot in found.get("grants", [])
    ]
    show_table(("credits from", "left", "of", "until", "since"), rows, "No credits.")


@app.command()
def transactions(
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    type: Annotated[str | None, typer.Option(help="Only these, such as usage, topup or refund.")] = None,
    execution_id: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    start: Start = None,
    end: End = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List movements of credits, the newest first."""
    with connect() as client:
        answer = client.billing.get_transactions(
            limit=limit, type=type, execution_id=execution_id, start_date=start, end_date=end, cursor=cursor
        )
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            moment(item.get("created_at")),
            cell(item.get("type")),
            cell(amount(item.get("amount")), "red" if (item.get("amount") or 0) < 0 else "green"),
            cell(amount(item.get("credits_after"))),
            cell(item.get("execution_id") or item.get("reference")),
            cell(item.get("description")),
        )
        for item in answer.get("transactions", [])
    ]
    show_table(("when", "type", "credits", "balance", "of", "what"), rows, "No transactions.")
    show_more(answer)


@app.command()
def usage(
    period: Annotated[
        Period | None, typer.Option(help="The one that is not over, in UTC; the month if nothing is said.")
    ] = None,
    group_by: Annotated[GroupBy, typer.Option(help="What is summed up together.")] = GroupBy.model,
    start: Start = None,
    end: End = None,
    limit: Annotated[int | None, typer.Option(help="How many lines at most.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what was spent, on what."""
    with connect() as client:
        answer = client.billing.usage(
            period=period.value if period is not None else None,
            group_by=group_by.value,
            start_date=start,
            end_date=end,
            limit=limit,
        )
    if as_json:
        print_json(answer)
        return
    rows = [_used(item.get("name") or item.get("key") or "other", item) for item in answer.get("usage", [])]
    if rows:
        rows.append(_used("all", answer, "bold"))
    columns = (group_by.value.replace("_", " "), "credits", "calls", "input", "cached", "output")
    show_table(columns, rows, "Nothing was used.")
    if answer.get("total", 0) > len(answer.get("usage", [])):
        typer.echo("There is more: add --limit", err=True)


@app.command()
def costs(execution_id: Annotated[str, typer.Argument(help="Id of the run.")], as_json: JsonFlag = False) -> None:
    """Show what a run did cost, and how much of it came to nothing."""
    with connect() as client:
        found = client.executions.costs(execution_id)
    if as_json:
        print_json(found)
        return
    wasted = found.get("wasted") or {}
    kinds: dict[str, Any] = {name: (wasted.get(name) or {}) for name in ("retried", "rolled_back", "abandoned")}
    show_fields(
        [
            ("run", cell(f"{found.get('execution_id')} ({found.get('status')})")),
            ("credits", cell(amount(found.get("credits_used")))),
            ("useful", cell(amount((found.get("useful") or {}).get("credits")), "green")),
            ("wasted", cell(amount(wasted.get("credits")), "yellow" if wasted.get("credits") else "")),
            *(
                (name.replace("_", " "), cell(amount(part["credits"])))
                for name, part in kinds.items()
                if part.get("calls")
            ),
        ]
    )
    rows = [
        (
            cell(step.get("step_index")),
            cell(step.get("agent")),
            cell(step.get("status")),
            cell(step.get("calls")),
            cell(step.get("tokens")),
            cell(amount(step.get("credits"))),
            cell(amount(step.get("wasted"))),
        )
        for step in found.get("steps", [])
    ]
    show_table(("step", "agent", "status", "calls", "tokens", "credits", "wasted"), rows, "It cost nothing.")


@prices.callback(invoke_without_command=True)
def list_prices(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show what the tenant pays. What changes prices needs the server's commands."""
    if context.invoked_subcommand is not None:
        return
    with connect() as client:
        answer = client.billing.prices()
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("kind")),
            cell(item.get("name")),
            cell(item.get("input_per_1m")),
            cell(item.get("cached_per_1m")),
            cell(item.get("output_per_1m")),
            cell(item.get("per_call")),
            moment(item.get("effective_from")),
        )
        for item in answer.get("prices", [])
        if item.get("current")
    ]
    columns = ("for", "name", "input per 1m", "cached per 1m", "output per 1m", "per call", "since")
    show_table(columns, rows, "Nothing has a price.")


def amount(credits: Any) -> str:
    """Credits for people, with as many decimals as there are."""
    if not isinstance(credits, int | float):
        return ""
    return f"{credits:,}" if isinstance(credits, int) else f"{credits:,.6f}".rstrip("0").rstrip(".")


def _used(what: str, spent: Any, style: str = "") -> tuple[Any, ...]:
    numbers = (spent.get("calls"), spent.get("input_tokens"), spent.get("cached_tokens"), spent.get("output_tokens"))
    return (
        cell(what, style),
        cell(amount(spent.get("credits")), style),
        *(cell(f"{n or 0:,}", style) for n in numbers),
    )
