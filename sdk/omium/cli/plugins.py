"""Finds the commands that other distributions add: entry points of the group `omium.commands`.

Each is a callable `add_commands(app: typer.Typer) -> None`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import typer

GROUP = "omium.commands"


def load_plugins(app: typer.Typer) -> None:
    """Adds the commands of all plug-ins. One that cannot be loaded is named on stderr; the others still work."""
    for entry in entry_points(group=GROUP):
        try:
            entry.load()(app)
        except Exception as error:
            # whatever a plug-in does wrong, the rest of the command line must go on
            typer.echo(
                f"Warning: the commands of {entry.value.partition(':')[0]} could not be loaded "
                f"({type(error).__name__}: {error}). Installing it again may help.",
                err=True,
            )
