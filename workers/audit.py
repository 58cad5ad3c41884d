"""`omium audit verify`: checks the whole audit log against its chain, with the database and the object store at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from workers.keys import JsonOption, StackOption, use_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activities.maintenance.verification import Verdict

_HEAD = re.compile(r"(\d+):([0-9a-f]{64})")


def add_verify(app: typer.Typer) -> None:
    """Adds the command to the group `audit`, which belongs to the client's command line."""
    for group in app.registered_groups:
        if group.name == "audit" and group.typer_instance is not None:
            group.typer_instance.command("verify")(verify)


def verify(
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="NUMBER:HASH", help="A head that an earlier check printed.")
    ] = None,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the audit log of all tenants, and name the first record that is not what was written.

    Needs the settings of the server: OMIUM_DATABASE_URL, OMIUM_API_KEY_PEPPER, those of the object store; or --data-dir. Exit
    code 1 when something was changed, removed, added, put in another order or cut off; 2 when it could not be checked. Keep
    the head that it prints somewhere else, and give it with --expect the next time.
    """
    import asyncio

    from omium_core.errors import OmiumError
    from workers.local.errors import StackError

    expected = _head(expect)
    try:
        if data_dir is not None:
            use_stack(data_dir)
        verdict = asyncio.run(_verify(expected, quiet=as_json))
    except (StackError, OmiumError) as error:
        typer.echo(f"omium: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(verdict.as_json()))
    else:
        _show(verdict)
    raise typer.Exit(0 if verdict.valid else 1)


def _head(expect: str | None) -> tuple[int, str] | None:
    if expect is None:
        return None
    match = _HEAD.fullmatch(expect.strip().lower())
    if match is None:
        raise typer.BadParameter("it is a number, a colon and 64 hexadecimal digits", param_hint="--expect")
    return int(match[1]), match[2]


async def _verify(expected: tuple[int, str] | None, *, quiet: bool) -> Verdict:
    from activities.maintenance.verification import verify as check
    from activities.stores.factory import open_bytes
    from models.database import is_database_away, open_database
    from omium_core.errors import Unavailable
    from omium_core.settings import load_settings

    settings = load_settings()
    database = open_database(settings)
    try:
        with _progress(quiet) as told:
            return await check(database, settings, open_bytes(settings), expected=expected, progress=told)
    except Exception as error:
        if not is_database_away(error):
            raise
        raise Unavailable("The database of OMIUM_DATABASE_URL does not answer.") from error
    finally:
        await database.close()


def _progress(quiet: bool) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """A bar on stderr, which is only drawn on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    @contextmanager
    def bar() -> Iterator[Callable[[int, int], None] | None]:
        if quiet:
            yield None
            return
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("links", total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    return bar()


def _show(verdict: Verdict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    grid.add_row("audit log", "[green]valid[/green]" if verdict.valid else "[bold red]broken[/bold red]")
    grid.add_row("checked", f"{verdict.checked} entries, {verdict.first_seq} to {verdict.last_seq}")
    grid.add_row("not sealed yet", str(verdict.pending))
    if verdict.removed_before:
        grid.add_row("kept since", verdict.removed_before)
    if verdict.broken is not None:
        broken = verdict.broken
        grid.add_row("first broken", f"{broken.kind}: {broken.message}")
        grid.add_row("number", str(broken.seq) if broken.seq is not None else "none")
        grid.add_row("entry", broken.audit_id or "unknown")
    console.print(grid)
    # in one line, however narrow the terminal is: it is there to be copied
    console.print(f"[bold]head[/bold] {verdict.head}", soft_wrap=True)
