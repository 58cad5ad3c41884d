"""`omium demo`: a crew of three agents on a real stack, from nothing to a finished run, with an invitation to break it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from omium import OmiumClient
from omium.cli.output import console
from omium.cli.watch import INTERRUPTED, watch
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from workers.local import detach, model_server, up
from workers.local.datadir import DataDir
from workers.local.errors import StackError
from workers.local.ports import Mode

SAMPLE = Path(__file__).parent.parent / "samples" / "newsroom.json"
INPUTS = {"topic": "how trees drink water"}


def run_demo(data_dir: Path, *, once: bool) -> bool:
    """Starts the stack (or uses the one that runs on `data_dir`), runs the sample, and says whether it completed.

    A stack that was started here is stopped at the end: at once with `once`, else at Ctrl-C.
    """
    screen = console()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    directory = DataDir(data_dir)
    ours = directory.holder() is None
    if ours:
        _check_model()
        screen.print("Starting PostgreSQL, Temporal, the API, a worker and a model ...")
    stack = detach.start(up.Options(data_dir, Mode.PREFER_FIXED), with_caller=True)
    try:
        with _told_by_the_stack(directory, screen):
            outcome = _run_sample(stack, screen)
            if ours and not once and outcome != INTERRUPTED:
                screen.print("The stack stays up. Ctrl-C stops it; what it stored stays.")
                _wait_for_interrupt()
    finally:
        if ours:
            screen.print("Stopping the stack ...")
            detach.stop(directory)
    return outcome == 0


def _check_model() -> None:
    if not os.environ.get("OMIUM_LLM_BASE_URL") and not model_server.available():
        raise StackError(
            "The demo needs a model: `scripts/setup model` installs a small one, "
            "or set OMIUM_LLM_BASE_URL, OMIUM_LLM_API_KEY and OMIUM_LLM_MODEL."
        )


def _run_sample(stack: dict[str, Any], screen: Console) -> int:
    """Registers and runs the sample, live on the screen. 0 when it completed, as exit codes have it."""
    sample = json.loads(SAMPLE.read_text())
    with OmiumClient(api_key=stack["api_key"], base_url=stack["api_url"]) as client:
        started = client.workflows.execute(_register(client, sample), INPUTS)
        execution_id = started["execution_id"]
        execution = client.executions.get(execution_id)
        _show_addresses(stack, execution["temporal"]["ui_url"], screen)
        _invite(stack["pids"], screen)
        outcome = watch(client, execution_id)
        _show_addresses(stack, execution["temporal"]["ui_url"], screen)
        return outcome


def _register(client: OmiumClient, sample: dict[str, Any]) -> str:
    """Id of the sample; registered once per stack."""
    for workflow in client.workflows.list(framework=sample["framework"], limit=100)["workflows"]:
        if workflow["name"] == sample["name"]:
            return workflow["id"]
    return client.workflows.create(**sample)["id"]


def _show_addresses(stack: dict[str, Any], run_url: str, screen: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("API docs", f"{stack['api_url']}/docs")
    table.add_row("API key", stack["api_key"])
    table.add_row("Temporal Web UI", stack["temporal_ui_url"])
    table.add_row("this run in it", run_url)
    table.add_row("Logs", stack["log_dir"])
    screen.print(Panel(table, title="Omium is up", expand=False))


def _invite(pids: dict[str, int], screen: Console) -> None:
    victims = "   ".join(f"kill -9 {pids[name]} ({name})" for name in ("worker", "temporal", "postgres", "api"))
    screen.print(f"Kill what you like while it runs, in another terminal:\n  {victims}\n", soft_wrap=True)


@contextmanager
def _told_by_the_stack(directory: DataDir, screen: Console) -> Iterator[None]:
    """Shows what the supervisor says (a part died, it is back) while the block runs."""
    done = threading.Event()

    def follow() -> None:
        with (directory.logs / "up.log").open() as log:
            log.seek(0, os.SEEK_END)
            while not done.wait(0.2):
                for line in log:
                    screen.print(line.rstrip(), style="yellow", highlight=False)

    thread = threading.Thread(target=follow, name="follow up.log")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
