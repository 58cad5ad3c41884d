"""A real local stack for tests: `omium up` as a child process of the test."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from workers.local.processes import die_with_parent

OMIUM = str(Path(sys.executable).with_name("omium"))
DEFAULT_ARGS = ("--ports", "auto", "--no-model")
_POLL = 0.05


class StackDidNotStart(Exception):
    """`omium up` ended instead of becoming ready; `code` is its exit code, the message what it said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"omium up ended with {code}: {said}")
        self.code = code
        self.said = said


def plain_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMIUM_")}
    return {**kept, **(extra or {})}


def start_stack(
    data_dir: Path,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    *,
    command: Sequence[str] = (OMIUM,),
    **popen: Any,
) -> Stack:
    """Starts a stack on free ports without a model and waits until it is ready.

    Its worker serves LangGraph alone unless `env` says otherwise: to load all frameworks is most of what a start costs. `env` adds settings (`OMIUM_...`), `args` adds options of `omium up`, `popen` arguments of the process (`user=`).
    A database outside of `data_dir` is removed when the tests end. Raises `StackDidNotStart`.
    """
    said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process that writes to it
    process = subprocess.Popen(
        [*command, "up", "--data-dir", str(data_dir), *DEFAULT_ARGS, "--json", *args],
        env=plain_environment({"OMIUM_FRAMEWORKS": "langgraph", **(env or {})}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        # a test run that is killed leaves nothing behind
        preexec_fn=die_with_parent(signal.SIGTERM),
        **popen,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        said.seek(0)
        raise StackDidNotStart(code, said.read().decode())
    stack = Stack(process, json.loads(line), said)
    database = Path(stack["postgres_data_dir"])
    if not database.is_relative_to(stack.data_dir):
        atexit.register(shutil.rmtree, database, ignore_errors=True)
    return stack


class Stack:
    """A running stack: `stack["api_url"]` and the like are what `omium up --json` printed."""

    def __init__(self, process: subprocess.Popen[bytes], printed: dict[str, Any], said: Any) -> None:
        self.process = process
        self.printed = printed
        self.data_dir = Path(printed["data_dir"])
        self._said = said
        self._killed: dict[str, int] = {}

    def __getitem__(self, name: str) -> Any:
        return self.printed[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def headers(self) -> dict[str, str]:
        """What a request to the API needs."""
        return {"X-API-Key": self.printed["api_key"]}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids as `stack.json` has them now."""
        pids: dict[str, int] = json.loads((self.data_dir / "stack.json").read_text())["pids"]
        return pids

    def said(self) -> str:
        """What `omium up` told on its error output so far."""
        self._said.seek(0)
        text: str = self._said.read().decode()
        return text

    def log(self, part: str) -> str:
        return (self.data_dir / "logs" / f"{part}.log").read_text(errors="replace")

    def kill(self, part: str) -> int:
        """Kills a part with SIGKILL (`up` is the supervisor), waits until it is gone, and returns its process id."""
        pid = self.pids[part]
        self._killed[part] = pid
        process = psutil.Process(pid)
        process.kill()
        if part == "up":
            self.process.wait(60)
        else:
            wait_until(lambda: not is_alive(pid), f"{part} ({pid}) is gone")
        return pid

    def wait_ready(self, part: str, timeout: float = 60.0) -> int:
        """Waits until the part runs (again, if it was killed here) and is ready; returns its process id."""
        record = self.data_dir / "run" / f"{part}.json"

        def ready() -> bool:
            pid = self.pids.get(part)
            if pid is None or pid == self._killed.get(part) or not is_alive(pid) or not record.exists():
                return False
            noted = json.loads(record.read_text())
            return bool(noted["pid"] == pid and noted["ready"])

        wait_until(ready, f"{part} is ready", timeout=timeout)
        return self.pids[part]

    def stop(self) -> int:
        """Stops the stack in order and returns the exit code of `omium up`."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not just waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Any, what: str, timeout: float = 60.0) -> None:
    """Polls until `condition()` is true; fails the test with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(_POLL)
