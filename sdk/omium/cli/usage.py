"""`omium usage`: what was used lately, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.analytics import Plot, Since, Timezone, Until, WorkflowId, label
from omium.cli.charts import bars
from omium.cli.output import JsonFlag, cell, print_json, show_table, size
from omium.cli.session import connect

if TYPE_CHECKING:
    from rich.text import Text

app = typer.Typer(help="What was used lately: runs, steps, calls, tokens, credits, requests, storage.")


class Period(StrEnum):
    day = "day"
    week = "week"
    month = "month"


class Group(StrEnum):
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    workflow = "workflow"


#: How many days a period has, today included, and what it is told by.
_PERIODS = {Period.day: (1, Group.hour), Period.week: (7, Group.day), Period.month: (30, Group.day)}
_COLUMNS = ("executions", "steps", "model_calls", "tool_calls", "tokens", "credits", "api_calls")
_HEADING = ("runs", "steps", "model calls", "tool calls", "tokens", "credits", "API calls", "storage")


@app.callback(invoke_without_command=True)
def usage(
    period: Annotated[Period, typer.Option(help="Today, the last 7 days, or the last 30.")] = Period.month,
    group_by: Annotated[
        Group | None, typer.Option(help="What the figures are told for; a day by its hours, else by days.")
    ] = None,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = None,
    workflow_id: WorkflowId = None,
    plot: Plot = True,
    as_json: JsonFlag = False,
) -> None:
    """What was used lately. `--from` and `--to` take the place of `--period`."""
    days, usual = _PERIODS[period]
    if since is None and until is None:
        # days are the server's and the zone's: what is asked for is "the last so many", and it knows what today is
        since = _days_back(days, timezone)
    else:
        usual = Group.day
    group = group_by or usual
    with connect() as client:
        answer = client.analytics.usage(
            start_date=since, end_date=until, group_by=group.value, timezone=timezone, workflow_id=workflow_id
        )
    if as_json:
        print_json(answer)
        return
    found: Mapping[str, Any] = answer.get("analytics") or {}
    groups: Sequence[Mapping[str, Any]] = found.get(f"by_{group.value}") or []
    rows = [(cell(label(row)), *_cells(row)) for row in groups]
    rows.append((cell("total", "bold"), *_cells(found, "bold")))
    show_table((group.value, *_HEADING), rows, "Nothing was used.")
    if plot:
        names = [label(row) for row in groups]
        bars("Runs", names, [row.get("executions") or 0 for row in groups])
        bars("Credits", names, [row.get("credits") or 0 for row in groups])


def _days_back(days: int, timezone: str | None) -> str:
    """The first of so many days, of which today is the last. A zone that is not known here is told by the server."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        zone = ZoneInfo(timezone) if timezone else UTC
    except (ValueError, OSError, ZoneInfoNotFoundError):
        zone = UTC
    return (datetime.now(zone).date() - timedelta(days=days - 1)).isoformat()


def _cells(row: Mapping[str, Any], style: str = "") -> tuple[Text, ...]:
    colours = {"credits": "yellow", "tokens": "cyan", "executions": "green"}
    values = (cell(row.get(name), f"{style} {colours.get(name, '')}".strip()) for name in _COLUMNS)
    return (*values, cell(size(row.get("storage_bytes")), style))
