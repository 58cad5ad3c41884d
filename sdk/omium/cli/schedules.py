"""`omium schedules`: workflows that are run by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.inputs import json_option
from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Schedule, ScheduleEnvelope, ScheduleRun

app = typer.Typer(no_args_is_help=True, help="Workflows that are run by themselves: when, and what came of it.")

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID", help="Id of the schedule.")]
Cron = Annotated[
    list[str] | None,
    typer.Option("--cron", help="Minute, hour, day, month, day of the week, as '30 7 * * mon-fri'; several times."),
]
Interval = Annotated[str | None, typer.Option(help="Every so often: seconds, or PT15M.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="Time zone of the cron expressions, as Europe/Berlin.")]
Inputs = Annotated[
    str | None, typer.Option("--inputs", metavar="JSON", help="Inputs of each run: JSON, @FILE, or - for stdin.")
]
Overlap = Annotated[
    str | None,
    typer.Option("--overlap", help="If a run is under way: skip, buffer_one, buffer_all, cancel_other, allow_all."),
]
Catchup = Annotated[str | None, typer.Option("--catchup-window", help="How late a time is made up for, as PT1H.")]
StartAt = Annotated[str | None, typer.Option(help="Nothing fires before this time.")]
EndAt = Annotated[str | None, typer.Option(help="Nothing fires after this time.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Note = Annotated[str | None, typer.Option(help="Why.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key again does nothing more.")]


@app.command()
def create(
    workflow_id: Annotated[str, typer.Argument(metavar="WORKFLOW_ID", help="The workflow that is run.")],
    name: Annotated[str, typer.Option(help="Name of the schedule.")],
    cron: Cron = None,
    interval: Interval = None,
    timezone: Zone = None,
    inputs: Inputs = None,
    overlap: Overlap = None,
    catchup_window: Catchup = None,
    start_at: StartAt = None,
    end_at: EndAt = None,
    description: Description = None,
    paused: Annotated[bool, typer.Option("--paused", help="It is made, and fires when it is resumed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a workflow by itself from now on, by --cron or by --interval."""
    fields = _fields(cron, interval, timezone, inputs, overlap, catchup_window, start_at, end_at, description)
    with connect() as client:
        schedule = client.schedules.create(workflow_id, name, paused=paused or None, **fields)
    _show(schedule, as_json)


@app.command("list")
def list_(
    workflow_id: Annotated[str | None, typer.Option(help="Only those of this workflow.")] = None,
    paused: Annotated[bool | None, typer.Option("--paused/--active", help="Only those that are paused.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List schedules, the newest first."""
    with connect() as client:
        answer = client.schedules.list(workflow_id=workflow_id, paused=paused, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("name")),
            cell(_when(item)),
            cell(item.get("timezone")),
            cell("paused" if item.get("paused") else "active"),
            moment(next(iter(item.get("next_run_times") or ()), None)),
        )
        for item in answer.get("schedules", [])
    ]
    show_table(("id", "name", "when", "time zone", "state", "next"), rows, "No schedules.")
    show_more(answer)


@app.command()
def get(schedule_id: ScheduleId, as_json: JsonFlag = False) -> None:
    """Show a schedule, its next times and the last ones that it fired."""
    with connect() as client:
        schedule = client.schedules.get(schedule_id)
    _show(schedule, as_json)


@app.command()
def update(
    schedule_id: ScheduleId,
    name: Annotated[str | None, typer.Option(help="Name of the schedule.")] = None,
    cron: Cron = None,
    interval: Interval = None,
    timezone: Zone = None,
    inputs: Inputs = None,
    overlap: Overlap = None,
    catchup_window: Catchup = None,
    start_at: StartAt = None,
    end_at: EndAt = None,
    description: Description = None,
    as_json: JsonFlag = False,
) -> None:
    """Change what is given; the rest stays as it is."""
    fields = _fields(cron, interval, timezone, inputs, overlap, catchup_window, start_at, end_at, description)
    if name is not None:
        fields["name"] = name
    if not fields:
        fail("Say what is to change, for instance with --cron.", code=2)
    with connect() as client:
        schedule = client.schedules.update(schedule_id, **fields)
    _show(schedule, as_json)


@app.command()
def delete(schedule_id: ScheduleId, as_json: JsonFlag = False) -> None:
    """Delete a schedule; runs that have begun go on. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.schedules.delete(schedule_id)
    if not as_json:
        typer.echo(f"Schedule {plain(schedule_id)} is deleted.")


@app.command()
def pause(schedule_id: ScheduleId, note: Note = None, as_json: JsonFlag = False) -> None:
    """Nothing fires until it is resumed."""
    with connect() as client:
        answer = client.schedules.pause(schedule_id, note)
    _tell(answer, as_json)


@app.command()
def resume(schedule_id: ScheduleId, note: Note = None, as_json: JsonFlag = False) -> None:
    """Fire again at its times. Those in between are not made up for."""
    with connect() as client:
        answer = client.schedules.resume(schedule_id, note)
    _tell(answer, as_json)


@app.command()
def trigger(schedule_id: ScheduleId, overlap: Overlap = None, key: Key = None, as_json: JsonFlag = False) -> None:
    """Fire now, also when it is paused."""
    with connect() as client:
        answer = client.schedules.trigger(schedule_id, overlap_policy=overlap, idempotency_key=key)
    _tell(answer, as_json)


@app.command()
def backfill(
    schedule_id: ScheduleId,
    start: Annotated[str, typer.Option("--from", help="First time, as 2026-01-01T00:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="Last time.")],
    overlap: Overlap = None,
    key: Key = None,
    as_json: JsonFlag = False,
) -> None:
    """Fire for times that are past. A time that has its run already starts no other."""
    with connect() as client:
        answer = client.schedules.backfill(schedule_id, start, end, overlap_policy=overlap, idempotency_key=key)
    _tell(answer, as_json)


@app.command()
def runs(
    schedule_id: ScheduleId,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the times that it fired, the newest first."""
    with connect() as client:
        answer = client.schedules.runs(schedule_id, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    _show_runs(answer.get("runs", []))
    show_more(answer)


def _fields(
    cron: list[str] | None,
    interval: str | None,
    timezone: str | None,
    inputs: str | None,
    overlap: str | None,
    catchup_window: str | None,
    start_at: str | None,
    end_at: str | None,
    description: str | None,
) -> dict[str, Any]:
    """What was given, by the names of the API."""
    given = {
        "cron": cron or None,
        "interval": _seconds(interval),
        "timezone": timezone,
        "inputs": None if inputs is None else json_option(inputs, "--inputs"),
        "overlap_policy": overlap,
        "catchup_window": _seconds(catchup_window),
        "start_at": start_at,
        "end_at": end_at,
        "description": description,
    }
    return {name: value for name, value in given.items() if value is not None}


def _seconds(text: str | None) -> float | str | None:
    """A number of seconds, or a duration as it was written."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _when(schedule: Schedule) -> str:
    cron = schedule.get("cron")
    if cron is None:
        return f"every {schedule.get('interval')} s"
    return cron if isinstance(cron, str) else ", ".join(cron)


def _tell(answer: ScheduleEnvelope, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(plain(answer.get("message")))


def _show(schedule: Schedule, as_json: bool) -> None:
    if as_json:
        print_json(schedule)
        return
    counts = schedule.get("counts")
    show_fields(
        [
            ("schedule", cell(schedule.get("id"))),
            ("name", cell(schedule.get("name"))),
            ("workflow", cell(schedule.get("workflow_id"))),
            ("when", cell(_when(schedule))),
            ("time zone", cell(schedule.get("timezone"))),
            ("state", cell("paused" if schedule.get("paused") else "active")),
            ("note", cell(schedule.get("note"))),
            ("overlap", cell(schedule.get("overlap_policy"))),
            ("synced", cell("yes" if schedule.get("synced") else "not yet")),
            *(("next", moment(when)) for when in (schedule.get("next_run_times") or [])[:3]),
            *((name, cell(value)) for name, value in (counts or {}).items()),
        ]
    )
    if schedule.get("recent_runs"):
        _show_runs(schedule["recent_runs"])


def _show_runs(items: Sequence[ScheduleRun]) -> None:
    rows = [
        (
            moment(item.get("scheduled_at")),
            cell(item.get("status")),
            cell(item.get("execution_id")),
            cell(item.get("execution_status")),
            cell((item.get("error") or {}).get("message")),
        )
        for item in items
    ]
    show_table(("time", "fired", "execution", "status", "why not"), rows, "It has not fired.")
