"""`omium config`: where the API is, and the key."""

from __future__ import annotations

from typing import Annotated

import typer

from omium import config as settings
from omium.cli.output import JsonFlag, fail, print_json, show_fields
from omium.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="Where the API is, and the key that opens it.")

Name = Annotated[str, typer.Argument(help="api_key or base_url.")]


def masked(key: str) -> str:
    """Enough of a key to know it by, not enough to use it."""
    return f"{key[:12]}...{key[-4:]}" if len(key) >= 24 else "..." + key[-2:]


def _known(name: str) -> str:
    known = name.replace("-", "_")
    if known not in settings.VARIABLES:
        fail(f"There is no setting {name!r}; there are: {', '.join(settings.VARIABLES)}.", code=2)
    return known


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="The value; - reads it from standard input.")],
    as_json: JsonFlag = False,
) -> None:
    """Save a setting in the configuration file, which only you can read."""
    known = _known(name)
    if value == "-":
        value = typer.get_text_stream("stdin").readline()
    try:
        path = settings.write_setting(known, value)
        saved = settings.read_file()[known]
    except ConfigurationError as error:
        fail(str(error))
    visible = masked(saved) if known == "api_key" else saved
    if as_json:
        print_json({known: visible, "file": str(path)})
    else:
        typer.echo(f"{known} is now {visible} (saved in {path}).")


@app.command()
def get(
    name: Name,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print a secret in full.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print a setting as it is in force here, whatever its source."""
    known = _known(name)
    try:
        connection = settings.resolve()
    except ConfigurationError as error:
        fail(str(error))
    value = connection.api_key if known == "api_key" else connection.base_url
    if value is None:
        fail(f"{known} is not set.")
    if known == "api_key" and not reveal:
        value = masked(value)
    if as_json:
        print_json({known: value})
    else:
        typer.echo(value)


@app.command()
def show(as_json: JsonFlag = False) -> None:
    """Show all settings in force, and where each comes from."""
    try:
        connection = settings.resolve()
    except ConfigurationError as error:
        fail(str(error))
    key = masked(connection.api_key) if connection.api_key else None
    if as_json:
        print_json(
            {
                "base_url": {"value": connection.base_url, "source": connection.base_url_source},
                "api_key": {"value": key, "source": connection.api_key_source},
                "file": str(settings.file_path()),
            }
        )
        return
    show_fields(
        [
            ("base_url", f"{connection.base_url}  ({connection.base_url_source})"),
            ("api_key", f"{key}  ({connection.api_key_source})" if key else "not set"),
            ("file", str(settings.file_path())),
        ]
    )
