"""The command line as tests call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omium.cli import build_app
from typer.testing import CliRunner, Result


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(build_app(), arguments, input=stdin, prog_name="omium")


def write_json(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)
