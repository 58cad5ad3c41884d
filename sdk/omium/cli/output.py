"""How the command line speaks: tables for people on stdout, JSON for programs, one sentence on stderr for errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print the API's answer as JSON, and nothing else, on standard output.")
]

#: Width of tables where no terminal says how wide it is: ids stay whole for `grep` and `cut`.
PIPE_WIDTH = 240

STATUS_STYLES = {
    "completed": "green",
    "running": "cyan",
    "pending": "blue",
    "paused": "yellow",
    "failed": "bold red",
    "cancelled": "magenta",
    "rolled_back": "magenta",
    "waiting": "yellow",
    "approved": "green",
    "edited": "green",
    "rejected": "bold red",
    "expired": "magenta",
    "open": "yellow",
    "committed": "green",
}


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Ends the command with one line on stderr. Exit code 1: it did not work; 2: it was asked wrongly."""
    typer.echo(f"Error: {plain(sentence)}", err=True)
    raise typer.Exit(code)


def print_json(answer: Any, *, indent: int | None = 2) -> None:
    """Prints a value as JSON; with `indent=None` on one line."""
    typer.echo(encode_json(answer, indent=indent))
    sys.stdout.flush()


def encode_json(answer: Any, *, indent: int | None = 2) -> bytes:
    """A value as JSON in UTF-8, readable for people too."""
    try:
        return json.dumps(answer, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError:
        # half of a surrogate pair: valid in JSON, but only when escaped
        return json.dumps(answer, indent=indent).encode()


def console() -> Console:
    """Where people read. Made when needed, so that it sees the stdout of now."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def show(renderable: RenderableType) -> None:
    """Prints something for people."""
    console().print(renderable)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], empty: str) -> None:
    """Prints rows under their headings, or the sentence `empty` where there are none."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table if table.row_count else empty)


def show_fields(fields: Iterable[tuple[str, RenderableType]]) -> None:
    """Prints one thing, a line for each field."""
    show(field_grid(fields))


def field_grid(fields: Iterable[tuple[str, RenderableType]]) -> RenderableType:
    """Names on the left, values on the right."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields:
        grid.add_row(name, value)
    return grid


def show_more(page: Any) -> None:
    """Tells on stderr how to get the next page, if there is one."""
    if cursor := page.get("next_cursor"):
        typer.echo(f"There is more: add --cursor {plain(cursor)}", err=True)


def plain(value: Any) -> str:
    """Text that cannot steer the terminal, whatever a name or an answer contains. None is an empty text."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def cell(value: Any, style: str = "") -> Text:
    """A value as text without markup."""
    from rich.text import Text

    return Text(plain(value), style=style)


def status(value: Any, reason: Any = None) -> Text:
    """A status in its colour, with the reason of a pause."""
    return cell(f"{value} ({reason})" if reason else value, STATUS_STYLES.get(str(value), ""))


def moment(value: Any) -> Text:
    """A time of the API in the local time zone."""
    if value is None:
        return cell("")
    try:
        local = datetime.fromisoformat(str(value)).astimezone()
    except ValueError:
        return cell(value)
    return cell(local.strftime("%Y-%m-%d %H:%M:%S"))


def duration(milliseconds: Any) -> str:
    """A length of time for people: `340 ms`, `2.4 s`, `3 min 05 s`."""
    if not isinstance(milliseconds, int | float):
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(int(milliseconds // 1000), 60)
    return f"{minutes} min {seconds:02d} s"


def size(count: Any) -> str:
    """A number of bytes for people."""
    from rich.filesize import decimal

    return decimal(count) if isinstance(count, int) else ""
