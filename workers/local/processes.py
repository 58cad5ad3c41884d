"""Child processes that die with their supervisor, and records that find them where they did not.

On Linux the kernel signals the children when the supervisor is gone, however it went. Elsewhere, and as a second net,
each process leaves a record in `run/`, by which the next `omium up` or `omium down` stops what was left over.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.local.datadir import DataDir, read_json, write_private

_LOG_LIMIT = 20 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
# loaded before any fork: a child between fork and exec must not import or allocate more than it has to
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The user that a process runs as."""

    uid: int
    gid: int


def die_with_parent(signum: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` after which the child gets `signum` when its parent ends; None where the system cannot."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended between fork and prctl
            os._exit(1)

    return arrange


async def spawn(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Starts a child in its own session, so that Ctrl-C reaches the supervisor alone; its output goes to `log`."""
    _roll(log)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            preexec_fn=die_with_parent(death_signal),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def _roll(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))


def record(directory: DataDir, name: str, pid: int, *, ready: bool = False) -> None:
    """Notes that this process is the part `name`. A pid alone can be used again; with its birth it is unique."""
    with suppress(psutil.NoSuchProcess):
        born = psutil.Process(pid).create_time()
        value = {"pid": pid, "created": born, "data_dir": str(directory.root), "ready": ready}
        write_private(directory.run / f"{name}.json", value)


def forget(directory: DataDir, name: str) -> None:
    (directory.run / f"{name}.json").unlink(missing_ok=True)


def recorded(directory: DataDir) -> dict[str, psutil.Process]:
    """The recorded processes that are alive, by name."""
    found: dict[str, psutil.Process] = {}
    for path in sorted(directory.run.glob("*.json")):
        value = read_json(path)
        # a copied directory brings the records of the stack that it was copied from
        if value and value.get("data_dir") == str(directory.root):
            process = _same_process(int(value["pid"]), float(value["created"]))
            if process is not None:
                found[path.stem] = process
    return found


def _same_process(pid: int, created: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        # the birth is computed from the clock, which may have been set since
        alive = abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def stop_leftovers(directory: DataDir, *, patience: float = 15.0) -> list[str]:
    """Ends what an earlier supervisor left behind and returns the names. Call only while holding the lock."""
    left = {name: process for name, process in recorded(directory).items() if process.pid != os.getpid()}
    for name, process in left.items():
        with suppress(psutil.NoSuchProcess):
            # PostgreSQL has work to do before it goes; everything else is safe to kill
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGKILL)
    _, alive = psutil.wait_procs(list(left.values()), timeout=patience)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    for path in directory.run.glob("*.json"):
        path.unlink(missing_ok=True)
    return sorted(left)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for the servers that are not ours: without the variables that would steer them or us."""
    steering = ("PG", "TEMPORAL_", "LD_", "DYLD_", "OMIUM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return {**kept, "LC_ALL": "C", **(extra or {})}
