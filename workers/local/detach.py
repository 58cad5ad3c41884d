"""A stack in the background: started so that it outlives the command, found again, stopped from outside."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

import psutil

from workers.local import up
from workers.local.datadir import DataDir, read_json
from workers.local.errors import StackError
from workers.local.processes import die_with_parent, stop_leftovers

_START_PATIENCE = 150.0
_STOP_PATIENCE = 45.0


def start(options: up.Options, *, with_caller: bool = False) -> dict[str, Any]:
    """Starts a stack in the background and returns its description when all is ready; or the one that runs already.

    `with_caller` stops the stack when the calling process ends, however it ends. Raises `StackError` with the background process's own words when it cannot start.
    """
    directory = DataDir(options.data_dir)
    directory.create()
    if directory.holder() is not None:
        return running(directory)
    read_end, write_end = os.pipe()
    follow_caller = die_with_parent(signal.SIGTERM) if with_caller else None
    if os.fork() == 0:
        os.close(read_end)
        if follow_caller:
            follow_caller()
        _become_supervisor(directory, options, write_end)
    os.close(write_end)
    with os.fdopen(read_end) as answers:
        text = answers.readline()
    if not text:
        raise StackError(f"The stack stopped while it was starting: see {directory.logs / 'up.log'}.")
    answer: dict[str, Any] = json.loads(text)
    if "error" in answer:
        raise StackError(answer["error"])
    return answer


def _become_supervisor(directory: DataDir, options: up.Options, write_end: int) -> None:
    """The child's life: never returns."""
    os.setsid()
    log = os.open(directory.logs / "up.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)

    def answer(value: dict[str, Any]) -> None:
        with os.fdopen(write_end, "w") as pipe:
            json.dump(value, pipe)
            pipe.write("\n")

    code = 1
    try:
        up.run(options, announce=answer, tell=lambda _sentence: None)
        code = 0
    except StackError as error:
        answer({"error": str(error)})
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def running(directory: DataDir) -> dict[str, Any]:
    """The stack that runs on this directory, waiting while it starts. Raises `StackError` when there is none."""
    deadline = time.monotonic() + _START_PATIENCE
    while (holder := directory.holder()) is not None and time.monotonic() < deadline:
        stack = directory.read_stack()
        if stack is not None and stack["pids"].get("up") == holder and _is_ready(directory, stack["pids"]):
            return stack
        time.sleep(0.1)
    raise StackError(f"No stack runs on {directory.root}: start one with `omium up --data-dir {directory.root}`.")


def _is_ready(directory: DataDir, pids: dict[str, int]) -> bool:
    names = pids.keys() - {"up"}
    records = [read_json(directory.run / f"{name}.json") for name in names]
    return {"api", "worker"} <= names and all(record is not None and record["ready"] for record in records)


def stop(directory: DataDir) -> bool:
    """Stops what runs on this directory, also what a killed supervisor left. False when nothing ran."""
    holder = directory.holder()
    if holder is not None:
        with suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(holder)
            supervisor.send_signal(signal.SIGTERM)
            with suppress(psutil.TimeoutExpired):
                supervisor.wait(_STOP_PATIENCE)
            if supervisor.is_running():
                supervisor.kill()
                supervisor.wait(5)
    directory.lock()
    try:
        return bool(stop_leftovers(directory)) or holder is not None
    finally:
        directory.unlock()
