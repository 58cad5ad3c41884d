"""`omium analytics`: how runs went, what they cost, what went wrong; and reports to a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.charts import bars
from omium.cli.output import JsonFlag, cell, duration, fail, plain, print_json, show_fields, show_table, size
from omium.cli.session import connect

if TYPE_CHECKING:
    from rich.text import Text

app = typer.Typer(no_args_is_help=True, help="How runs went, what they cost, what went wrong; reports to a file.")


class Unit(StrEnum):
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"


class RunGroup(StrEnum):
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    workflow = "workflow"
    framework = "framework"
    model = "model"


class Report(StrEnum):
    executions = "executions"
    usage = "usage"
    costs = "costs"


class Format(StrEnum):
    csv = "csv"
    json = "json"


Since = Annotated[
    str | None, typer.Option("--from", help="The first day, such as 2026-01-31; 30 days back if not said.")
]
Until = Annotated[str | None, typer.Option("--to", help="The last day, which is included; today if not said.")]
Timezone = Annotated[str | None, typer.Option(help="Whose days are meant, such as Europe/Berlin; UTC if not said.")]
WorkflowId = Annotated[str | None, typer.Option(help="Only this workflow.")]
Framework = Annotated[str | None, typer.Option(help="Only runs of this framework.")]
Plot = Annotated[bool, typer.Option("--plot/--no-plot", help="Draw the figures below the table.")]


@app.command()
def executions(
    group_by: Annotated[RunGroup, typer.Option(help="What the figures are told for.")] = RunGroup.day,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = None,
    workflow_id: WorkflowId = None,
    framework: Framework = None,
    status: Annotated[str | None, typer.Option(help="Only runs that are so now, such as failed.")] = None,
    plot: Plot = True,
    as_json: JsonFlag = False,
) -> None:
    """How many runs there were, how they ended, how long they took, what they cost."""
    with connect() as client:
        answer = client.analytics.executions(
            start_date=since,
            end_date=until,
            group_by=group_by.value,
            timezone=timezone,
            workflow_id=workflow_id,
            framework=framework,
            status=status,
        )
    if as_json:
        print_json(answer)
        return
    found: Mapping[str, Any] = answer.get("analytics") or {}
    groups: Sequence[Mapping[str, Any]] = found.get(f"by_{group_by.value}") or []
    rows = [(cell(label(group)), *_run_cells(group, group.get("total"))) for group in groups]
    rows.append((cell("total", "bold"), *_run_cells(found, found.get("total_executions"))))
    heading = (group_by.value, "runs", "ok", "failed", "open", "rate", "average", "median", "95 %", "tokens", "USD")
    show_table(heading, rows, "No runs.")
    if plot:
        bars("Runs", [label(group) for group in groups], [group.get("total") or 0 for group in groups])
    breakdown: Mapping[str, int] = found.get("failure_breakdown") or {}
    if breakdown:
        show_table(("failed by", "runs"), [(cell(name), cell(count, "red")) for name, count in breakdown.items()], "")


@app.command()
def costs(
    group_by: Annotated[Unit, typer.Option(help="Of the list over time.")] = Unit.day,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = None,
    workflow_id: WorkflowId = None,
    plot: Plot = True,
    as_json: JsonFlag = False,
) -> None:
    """What was spent: over time, by workflow, model and agent."""
    with connect() as client:
        answer = client.analytics.costs(
            start_date=since, end_date=until, group_by=group_by.value, timezone=timezone, workflow_id=workflow_id
        )
    if as_json:
        print_json(answer)
        return
    found: Mapping[str, Any] = answer.get("analytics") or {}
    heading = ("credits", "USD", "charges", "tokens in", "tokens out")
    for name in (group_by.value, "workflow", "model", "agent", "type"):
        groups: Sequence[Mapping[str, Any]] = found.get(f"by_{name}") or []
        if groups:
            show_table((name, *heading), [(cell(label(group)), *_cost_cells(group)) for group in groups], "")
    show_fields(
        [
            ("Credits", cell(found.get("total_credits"), "bold")),
            ("USD", cell(found.get("total_cost_usd"))),
            ("Charges", cell(found.get("charges"))),
        ]
    )
    if plot:
        groups = found.get(f"by_{group_by.value}") or []
        bars("Credits", [label(group) for group in groups], [group.get("credits") or 0 for group in groups])


@app.command()
def failures(
    group_by: Annotated[Unit, typer.Option(help="Of the list over time.")] = Unit.day,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = None,
    workflow_id: WorkflowId = None,
    framework: Framework = None,
    plot: Plot = True,
    as_json: JsonFlag = False,
) -> None:
    """What went wrong, by type and over time; also what runs got over."""
    with connect() as client:
        answer = client.analytics.failures(
            start_date=since,
            end_date=until,
            group_by=group_by.value,
            timezone=timezone,
            workflow_id=workflow_id,
            framework=framework,
        )
    if as_json:
        print_json(answer)
        return
    found: Mapping[str, Any] = answer.get("analytics") or {}
    types: Mapping[str, int] = found.get("by_type") or {}
    groups: Sequence[Mapping[str, Any]] = found.get(f"by_{group_by.value}") or []
    show_table(
        ("type", "failures"), [(cell(name), cell(count, "red")) for name, count in types.items()], "No failures."
    )
    rows = [(cell(label(group)), cell(group.get("total")), cell(_types(group))) for group in groups]
    if rows:
        show_table((group_by.value, "failures", "of these"), rows, "")
    show_fields([("Got over", cell(found.get("resolved"), "green")), ("Open", cell(found.get("unresolved"), "red"))])
    if plot:
        bars("Failures", [label(group) for group in groups], [group.get("total") or 0 for group in groups])


@app.command()
def checkpoints(
    group_by: Annotated[Unit, typer.Option(help="Of the list over time.")] = Unit.day,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = None,
    workflow_id: WorkflowId = None,
    as_json: JsonFlag = False,
) -> None:
    """How many checkpoints were made, how often, and how large they are."""
    with connect() as client:
        answer = client.analytics.checkpoints(
            start_date=since, end_date=until, group_by=group_by.value, timezone=timezone, workflow_id=workflow_id
        )
    if as_json:
        print_json(answer)
        return
    found: Mapping[str, Any] = answer.get("analytics") or {}
    groups: Sequence[Mapping[str, Any]] = found.get(f"by_{group_by.value}") or []
    rows = [
        (
            cell(label(group)),
            cell(group.get("checkpoints")),
            cell(size(group.get("bytes"))),
            cell(size(group.get("avg_bytes"))),
        )
        for group in groups
    ]
    show_table((group_by.value, "checkpoints", "size", "of one"), rows, "No checkpoints.")
    show_fields(
        [
            ("Checkpoints", cell(found.get("total_checkpoints"), "bold")),
            ("Size", cell(size(found.get("total_bytes")))),
            ("Per run", cell(found.get("per_execution"))),
            ("Per hour", cell(found.get("per_hour"))),
        ]
    )


@app.command()
def report(
    name: Annotated[Report, typer.Argument(metavar="REPORT", help="executions, usage or costs.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="- is standard output.")] = "-",
    format: Annotated[Format, typer.Option(help="A line for each group, or the whole answer.")] = Format.csv,
    group_by: Annotated[Unit, typer.Option(help="What the figures are told for.")] = Unit.day,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = None,
    workflow_id: WorkflowId = None,
) -> None:
    """Write a report to a file."""
    with connect() as client, _opened(output) as file:
        written = client.analytics.report(
            file,
            name.value,
            format.value,
            start_date=since,
            end_date=until,
            group_by=group_by.value,
            timezone=timezone,
            workflow_id=workflow_id,
        )
    if output != "-":
        typer.echo(f"{written} bytes in {plain(output)}.", err=True)


def label(group: Mapping[str, Any]) -> str:
    """What a group is called, for people."""
    named = group.get("workflow_name")
    return plain(named or next(iter(group.values()), None) or "none")


def _run_cells(figures: Mapping[str, Any], runs: Any) -> tuple[Text, ...]:
    failed, rate = figures.get("failed"), figures.get("success_rate")
    return (
        cell(runs),
        cell(figures.get("successful"), "green"),
        cell(failed, "red" if failed else ""),
        cell(figures.get("running")),
        cell("" if rate is None else f"{rate:.1%}"),
        *(cell(duration(figures.get(f"{kind}_duration_ms"))) for kind in ("avg", "p50", "p95")),
        cell(figures.get("total_tokens")),
        cell(figures.get("total_cost_usd")),
    )


def _cost_cells(figures: Mapping[str, Any]) -> tuple[Text, ...]:
    names = ("credits", "cost_usd", "charges", "input_tokens", "output_tokens")
    return tuple(cell(figures.get(name)) for name in names)


def _types(group: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in (group.get("by_type") or {}).items())


def _opened(name: str) -> Any:
    if name == "-":
        stdout: IO[bytes] = sys.stdout.buffer
        return nullcontext(stdout)
    try:
        return Path(name).open("wb")
    except OSError as error:
        fail(f"{name} cannot be written: {error.strerror or error}.")
