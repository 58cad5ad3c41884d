"""Workers that are back at once: each is forked from a process that has its frameworks loaded.

To load the frameworks takes a worker longer than all that a test wants to know of its death. In a test:
`with QuickWorker(stack) as worker: ...worker.kill()...`; the stack's own worker is to serve no framework then.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from omium_core.settings import FRAMEWORKS
from tests.support.stack import Stack, is_alive, wait_until
from workers.local.processes import die_with_parent

#: What a stack is started with so that its own worker leaves all work to others.
NO_FRAMEWORKS = {"OMIUM_FRAMEWORKS": ""}


class QuickWorker:
    """Keeps one worker of a stack running, for these frameworks, from another killing to the next."""

    def __init__(self, stack: Stack, frameworks: Sequence[str] = FRAMEWORKS) -> None:
        self._env = {
            **psutil.Process(stack.pids["worker"]).environ(),
            "OMIUM_FRAMEWORKS": ",".join(frameworks),
        }
        del self._env["OMIUM_READY_FILE"]
        self._pid_file = stack.data_dir / "run" / "quick_worker.pid"
        self._log = stack.data_dir / "logs" / "quick_worker.log"

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.support.quick_worker", str(self._pid_file)],
                cwd=Path(__file__).parents[2],
                env=self._env,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        wait_until(self._pid_file.exists, "its frameworks are loaded", timeout=90.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.kill()
        self._keeper.wait(60)

    def kill(self) -> None:
        """Kills the worker with SIGKILL and waits until it is gone."""
        pid = int(self._pid_file.read_text())
        psutil.Process(pid).kill()
        wait_until(lambda: not is_alive(pid), f"worker ({pid}) is gone")


def keep(pid_file: Path) -> None:
    """Starts one worker after the other; the process id of the present one is in the file."""
    # a test that only kills needs none of this
    from activities.adapters.registry import load_adapter
    from omium_core.settings import load_settings
    from workers.main import main

    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        for framework in settings.frameworks:
            load_adapter(framework, settings, Path(scratch))
    gc.collect()
    gc.freeze()
    die_along = die_with_parent(signal.SIGKILL)
    while True:
        worker = os.fork()
        if worker == 0:
            if die_along is not None:
                die_along()
            main()
            os._exit(0)
        written = pid_file.with_suffix(".new")
        written.write_text(str(worker))
        written.replace(pid_file)
        os.waitpid(worker, 0)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
