"""How the server's commands tell what a person can mend. Imports nothing that is slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns what a person can mend into one sentence and exit code 1."""
    from omium_core.errors import OmiumError
    from workers.local.errors import StackError

    try:
        yield
    except (StackError, OmiumError) as error:
        typer.echo(f"omium: {error}", err=True)
        raise typer.Exit(1) from None
