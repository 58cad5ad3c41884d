"""Keeps CrewAI quiet and in its place: no telemetry, no version check, no prompt, no file outside the scratch folder.

CrewAI reads its environment when it is imported, so this comes before that. `OTEL_SDK_DISABLED` would silence it as well,
and the worker's own traces with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def prepare_environment(scratch: Path) -> None:
    """Sets the process's environment for CrewAI. `scratch` is created, and belongs to this process."""
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        # Also keeps its signal handlers away, which would take SIGTERM from the worker.
        CREWAI_DISABLE_TELEMETRY="true",
        CREWAI_TRACING_ENABLED="false",
        CREWAI_DISABLE_VERSION_CHECK="true",
        CREWAI_STORAGE_DIR=str(scratch),
        ANONYMIZED_TELEMETRY="false",
        # It would load any .env file above its own folder into this process.
        PYTHON_DOTENV_DISABLED="true",
    )


@contextmanager
def home_in(scratch: Path) -> Iterator[None]:
    """A home folder in `scratch` while CrewAI is imported: it takes the folders of its settings and keys from there."""
    before = {name: os.environ.get(name) for name in ("HOME", "XDG_DATA_HOME")}
    os.environ.update(HOME=str(scratch), XDG_DATA_HOME=str(scratch / "data"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
