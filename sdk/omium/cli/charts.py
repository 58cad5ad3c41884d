"""Plots in the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

import typer

_WIDTH, _HEIGHT = 100, 15


def bars(title: str, names: Sequence[str], values: Sequence[float]) -> None:
    """Prints a bar for each value. Without colours where nobody looks at a terminal."""
    if not any(values):
        return
    import plotext

    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size((_WIDTH, _HEIGHT)).columns, _WIDTH) if terminal else _WIDTH
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, _HEIGHT)
    plotext.bar(list(names), list(values), color="cyan", width=0.6)
    plotext.title(title)
    drawn: str = plotext.build()
    typer.echo(drawn if terminal else plotext.uncolorize(drawn))
