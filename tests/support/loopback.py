"""Servers of other makers, started for a test on 127.0.0.1 and stopped after it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from workers.local.ports import any_free


def tool(name: str) -> str:
    """Path of a program that was installed beside the Python that runs the tests."""
    return str(Path(sys.executable).parent / name)


def free_port() -> int:
    """A port nobody listens on now, and that no client is given while its server is away."""
    return any_free()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns as soon as `holds()` does; raises `TimeoutError` naming `what` when it does not."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.01)


@contextmanager
def running(
    command: Sequence[str], *, log: Path, ready: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process: left when it is ready, with its output in `log`, and stopped at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )

    def ready_or_dead() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {log.read_text()[-2000:]}")
        return ready()

    try:
        wait_until(ready_or_dead, seconds=30, what=Path(command[0]).name)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
