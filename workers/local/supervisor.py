"""Keeps parts running: starts them, watches them, starts them again when they die, stops them in order."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.local.datadir import DataDir
from workers.local.errors import StackError
from workers.local.parts import Part
from workers.local.processes import forget, record, spawn

#: A part that dies this often before it was ready once will not come up by itself.
_ATTEMPTS = 3
#: A part that ran this many seconds was healthy: its next death is news, not a loop.
_HEALTHY_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_READY_TIMEOUT = 90.0
_POLL = 0.02


@dataclass
class _Kept:
    part: Part
    first_ready: asyncio.Future[None]
    process: Process | None = None
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """All parts of one stack.

    `tell` gets a sentence for the person watching; `changed` is called when the process ids are others than before.
    """

    def __init__(self, directory: DataDir, tell: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._directory = directory
        self._tell = tell
        self._changed = changed
        self._kept: dict[str, _Kept] = {}
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the parts that run now."""
        running = {name: kept.process for name, kept in self._kept.items() if kept.process is not None}
        return {name: process.pid for name, process in running.items() if process.returncode is None}

    def start(self, part: Part) -> asyncio.Future[None]:
        """Begins to keep a part. The future is done when it is ready, or fails with `StackError`."""
        kept = _Kept(part, asyncio.get_running_loop().create_future())
        self._kept[part.name] = kept
        kept.keeper = asyncio.create_task(self._keep(kept), name=f"keep {part.name}")
        return kept.first_ready

    async def stop(self, *names: str, at_once: bool = False) -> None:
        """Stops these parts, all at the same time: the stop signal, then SIGKILL when the grace is over.

        `at_once` leaves out the grace of parts that lose nothing by it, as when the stack never came up.
        """
        self._stopping = True
        await asyncio.gather(*(self._stop(self._kept[name], at_once) for name in names if name in self._kept))

    def kill(self) -> None:
        """Ends everything at once; what lies on disk is safe."""
        for kept in self._kept.values():
            if kept.process is not None and kept.process.returncode is None:
                kept.process.kill()

    async def _keep(self, kept: _Kept) -> None:
        part, deaths = kept.part, 0
        while not self._stopping:
            began = time.monotonic()
            try:
                await asyncio.to_thread(part.before_start)
                process = await self._spawn(part)
            except OSError as error:
                self._fail(kept, f"{part.title} could not be started ({error.strerror}).")
                return
            kept.process = process
            record(self._directory, part.name, process.pid)
            self._changed()
            watch = asyncio.create_task(self._watch(kept, process, began))
            code = await process.wait()
            watch.cancel()
            if self._stopping:
                return
            deaths = 1 if time.monotonic() - began > _HEALTHY_SECONDS else deaths + 1
            final = deaths >= _ATTEMPTS or (code > 0 and part.explains_its_exit)
            if final and not kept.first_ready.done():
                self._fail(kept, f"{part.title} {_ending(code)} while it was starting.")
                return
            pause = min(_FIRST_PAUSE * 2 ** (deaths - 1), _LONGEST_PAUSE)
            self._tell(f"{part.title} {_ending(code)}; starting it again.")
            await asyncio.sleep(pause)

    async def _spawn(self, part: Part) -> Process:
        return await spawn(
            part.command,
            log=self._log(part),
            env=part.env,
            cwd=part.cwd,
            account=part.account,
            death_signal=part.death_signal,
        )

    async def _watch(self, kept: _Kept, process: Process, began: float) -> None:
        """Waits until the part is ready, and says so."""
        part = kept.part
        while not await part.ready(process.pid):
            if not kept.first_ready.done() and time.monotonic() - began > _READY_TIMEOUT:
                self._fail(kept, f"{part.title} was not ready after {_READY_TIMEOUT:.0f} seconds.")
                return
            await asyncio.sleep(_POLL)
        record(self._directory, part.name, process.pid, ready=True)
        if kept.first_ready.done():
            self._tell(f"{part.title} is back (process {process.pid}, {time.monotonic() - began:.1f} s).")
        else:
            kept.first_ready.set_result(None)

    async def _stop(self, kept: _Kept, at_once: bool) -> None:
        process = kept.process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(kept.part.death_signal if at_once else kept.part.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), kept.part.grace)
            except TimeoutError:
                self._tell(f"{kept.part.title} did not stop within {kept.part.grace:.0f} s: killing it.")
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if kept.keeper is not None:
            kept.keeper.cancel()  # it may be waiting to start the part again
            await asyncio.wait([kept.keeper])
        forget(self._directory, kept.part.name)

    def _fail(self, kept: _Kept, message: str) -> None:
        if not kept.first_ready.done():
            kept.first_ready.set_exception(StackError(f"{message} {last_words(self._log(kept.part))}"))

    def _log(self, part: Part) -> Path:
        return self._directory.logs / f"{part.name}.log"


def last_words(log: Path) -> str:
    """Where a log lies and what its end says, as the tail of an error message."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()[-20:]
    except FileNotFoundError:
        lines = []
    if not lines:
        return f"Its log is {log}."
    messages = [_message(line) for line in lines]
    raised = [message for message in messages if message.startswith("Traceback")]
    said = (raised or messages)[-1].strip().splitlines()[-1].strip()
    return f"It said: {said} (log: {log})"


def _message(line: str) -> str:
    """The message of a line of a log, which may be JSON."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    return str(entry["message"]) if isinstance(entry, dict) and entry.get("message") else line


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed ({signal.Signals(-code).name})"
