"""The server's commands of the `omium` command line, found through the entry-point group `omium.commands`.

Heavy modules are imported inside the commands, so that `omium --help` stays quick.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workers.audit import add_verify
from workers.billing import add_billing
from workers.cli_errors import plain_errors
from workers.keys import keys_commands

if TYPE_CHECKING:
    from workers.local.datadir import DataDir
    from workers.local.up import Options

DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="OMIUM_DATA_DIR", help="Where all state of the stack lies.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]

_DEFAULT_DIR = Path(".omium")


def add_commands(app: typer.Typer) -> None:
    """Adds `up`, `status`, `down`, `demo`, `db`, `keys`, `audit verify` and what operators do with credits."""
    app.command()(up)
    app.command()(status)
    app.command()(down)
    app.command()(demo)
    database = typer.Typer(no_args_is_help=True, help="The database of an installation (OMIUM_DATABASE_URL).")
    database.command("upgrade")(db_upgrade)
    database.command("bootstrap")(db_bootstrap)
    app.add_typer(database, name="db")
    app.add_typer(keys_commands(), name="keys")
    add_verify(app)
    add_billing(app)


def up(
    data_dir: DataDirOption = _DEFAULT_DIR,
    ports: Annotated[
        Literal["fixed", "auto"],
        typer.Option(
            help="fixed: 8000, 7233, 8233, 5432, 8081, or what OMIUM_API_PORT and the like say; auto: free ones."
        ),
    ] = "fixed",
    no_model: Annotated[bool, typer.Option("--no-model", help="Do not start the small local model.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave the stack running in the background.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start PostgreSQL, Temporal, the API, a worker and a small model on this machine."""
    from workers.local import detach as background
    from workers.local import up as foreground
    from workers.local.ports import Mode

    options = foreground.Options(data_dir, Mode(ports), with_model=not no_model)
    with plain_errors():
        if detach:
            _print_stack(background.start(options), as_json=as_json)
        else:
            _run_in_foreground(options, as_json=as_json)


def status(data_dir: DataDirOption = _DEFAULT_DIR, as_json: JsonOption = False) -> None:
    """Show the parts of the stack and whether each answers. Exit code 0 only when all is well."""
    import asyncio

    from rich.console import Console

    from workers.local import show
    from workers.local.errors import StackError
    from workers.local.status import examine

    with plain_errors():
        directory = _existing(data_dir)
        stack = directory.read_stack()
        if stack is None:
            raise StackError(
                f"No stack was started on {directory.root}: `omium up --data-dir {directory.root}` does it."
            )
        found = asyncio.run(examine(directory, stack))
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        show.status(Console(), found)
    raise typer.Exit(0 if found.healthy else 1)


def down(data_dir: DataDirOption = _DEFAULT_DIR) -> None:
    """Stop the stack and wait until it is gone. What it stored stays."""
    from workers.local import detach as background

    with plain_errors():
        directory = _existing(data_dir)
        stopped = background.stop(directory)
    typer.echo(f"Stopped the stack on {directory.root}." if stopped else f"No stack runs on {directory.root}.")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop the stack when the run has ended.")] = False,
    data_dir: DataDirOption = _DEFAULT_DIR,
) -> None:
    """Start the stack, run a crew of three agents on it, and show where to look."""
    from workers.demo import run_demo

    with plain_errors():
        completed = run_demo(data_dir, once=once)
    raise typer.Exit(0 if completed else 1)


def db_upgrade() -> None:
    """Bring the database to the newest schema."""
    import asyncio

    from models.migrate import upgrade
    from omium_core.settings import Settings

    with plain_errors():
        settings = Settings()
        asyncio.run(upgrade(settings.owner_url(), settings.database_url.get_secret_value()))


def db_bootstrap() -> None:
    """Make sure that OMIUM_BOOTSTRAP_API_KEY is the admin key of the first tenant."""
    import asyncio

    from models.bootstrap import bootstrap
    from omium_core.errors import ConfigurationError
    from omium_core.settings import Settings

    with plain_errors():
        settings = Settings()
        if settings.bootstrap_api_key is None:
            raise ConfigurationError("OMIUM_BOOTSTRAP_API_KEY is not set: set it to the key that you want to use.")
        asyncio.run(
            bootstrap(
                settings.owner_url(),
                settings.api_key_pepper.get_secret_value(),
                settings.bootstrap_api_key.get_secret_value(),
                settings.signup_credits,
            )
        )


def _existing(data_dir: Path) -> DataDir:
    from workers.local.datadir import DataDir
    from workers.local.errors import StackError

    directory = DataDir(data_dir)
    if not directory.run.is_dir():
        raise StackError(f"{directory.root} is not the data directory of a stack: name it with --data-dir.")
    if not os.access(directory.run, os.R_OK | os.W_OK | os.X_OK):
        raise StackError(f"{directory.root} belongs to another user: run this as the one who started the stack.")
    return directory


def _run_in_foreground(options: Options, *, as_json: bool) -> None:
    from workers.local import up as foreground

    foreground.run(
        options,
        announce=lambda stack: _print_stack(stack, as_json=as_json),
        tell=lambda sentence: typer.echo(sentence, err=True),
    )


def _print_stack(stack: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(stack))
        return
    from rich.console import Console

    from workers.local import show

    show.addresses(Console(), stack)
