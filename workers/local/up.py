"""One `omium up`: from a data directory to a running stack, and back down in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.local import model_server, own_parts, ports, postgres, temporal_server
from workers.local.datadir import DataDir, Secrets
from workers.local.errors import StackError
from workers.local.ports import HOST
from workers.local.processes import forget, record, spawn, stop_leftovers
from workers.local.supervisor import Supervisor, last_words


@dataclass(frozen=True)
class Options:
    """What `omium up` was asked for."""

    data_dir: Path
    ports: ports.Mode = ports.Mode.FIXED
    with_model: bool = True


class Stack:
    """A stack in this process. Use `run`; the pieces are there to be read in order."""

    def __init__(
        self,
        directory: DataDir,
        options: Options,
        *,
        announce: Callable[[dict[str, Any]], None],
        tell: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._options = options
        self._announce = announce
        self._tell = tell
        self._supervisor = Supervisor(directory, tell, self._rewrite)
        self._description: dict[str, Any] | None = None

    async def run(self) -> None:
        """Starts everything, announces it, and returns when a signal has stopped it.

        Needs the directory's lock. Raises `StackError` when a part cannot be started.
        """
        stop = _stop_event(self._supervisor)
        record(self._directory, "up", os.getpid())
        starting = asyncio.create_task(self._start())
        stopped = asyncio.create_task(stop.wait())
        came_up = False
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                came_up = True
                await stopped
        finally:
            starting.cancel()
            stopped.cancel()
            await asyncio.wait({starting, stopped})
            await self._stop(at_once=not came_up)

    async def _start(self) -> None:
        directory, began = self._directory, time.monotonic()
        secrets = directory.load_secrets()
        with_model = self._wants_model()
        wanted = (*ports.ALWAYS, ports.MODEL) if with_model else ports.ALWAYS
        remembered = (directory.read_stack() or {}).get("ports", {})
        chosen = ports.choose(wanted, self._options.ports, remembered)
        env = own_parts.environment(directory, secrets, chosen, with_model=with_model)
        temporal = temporal_server.part(directory, chosen)

        cluster = postgres.place(directory, secrets)
        await postgres.initialise(cluster, directory, secrets)
        self._description = self._describe(secrets, chosen, cluster)
        start = self._supervisor.start
        ready = [start(postgres.part(cluster, chosen["postgres"]))]
        schema = asyncio.create_task(
            self._prepare_schema(own_parts.schema_environment(env, secrets, chosen["postgres"]), ready[0])
        )
        ready.append(start(temporal))
        try:
            await schema
            ready += [start(own_parts.api(directory, env)), start(own_parts.worker(directory, env))]
            if with_model:
                ready.append(start(own_parts.model(directory, env, chosen["model"])))
            await asyncio.gather(*ready)
        finally:
            schema.cancel()
            for future in ready:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # seen: one failure is reported, others may have followed from it
        self._rewrite()
        self._tell(f"Ready after {time.monotonic() - began:.1f} s.")
        self._announce(self._description | {"pids": self._pids()})

    def _wants_model(self) -> bool:
        if not self._options.with_model or os.environ.get("OMIUM_LLM_BASE_URL"):
            return False
        if not model_server.available():
            self._tell(
                "The small local model is not installed (`scripts/setup model` brings it) and OMIUM_LLM_BASE_URL is "
                "not set: runs that ask a model will fail."
            )
            return False
        return True

    async def _prepare_schema(self, env: Mapping[str, str], database: asyncio.Future[None]) -> None:
        log = self._directory.logs / "schema.log"
        process = await spawn(own_parts.module_command("workers.local.schema"), log=log, env=env)
        record(self._directory, "schema", process.pid)
        ended = asyncio.create_task(process.wait())
        try:
            # without a database the child would wait in vain: its failure is the one to report
            waiting: set[asyncio.Future[Any]] = {ended, database}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if database.done():
                database.result()
            code = await ended
        finally:
            ended.cancel()
            _kill(process)
        forget(self._directory, "schema")
        if code != 0:
            raise StackError(f"The database could not be prepared. {last_words(log)}")

    def _describe(self, secrets: Secrets, chosen: Mapping[str, int], cluster: postgres.Cluster) -> dict[str, Any]:
        return {
            "api_url": f"http://{HOST}:{chosen['api']}",
            "temporal_address": f"{HOST}:{chosen['temporal']}",
            "temporal_namespace": temporal_server.NAMESPACE,
            "temporal_ui_url": f"http://{HOST}:{chosen['api']}{temporal_server.UI_PATH}",
            "database_url": postgres.url(secrets, chosen["postgres"]),
            "api_key": secrets.api_key,
            "data_dir": str(self._directory.root),
            "log_dir": str(self._directory.logs),
            "postgres_data_dir": str(cluster.home),
            "ports": dict(chosen),
        }

    def _pids(self) -> dict[str, int]:
        return {"up": os.getpid(), **self._supervisor.pids}

    def _rewrite(self) -> None:
        if self._description is not None:
            self._directory.write_stack(self._description | {"pids": self._pids()})

    async def _stop(self, *, at_once: bool) -> None:
        """What takes work stops first, what keeps it last."""
        for names in (("api", "worker"), ("model",), ("temporal",), ("postgres",)):
            await self._supervisor.stop(*names, at_once=at_once)
        forget(self._directory, "up")
        if self._description is not None:
            self._directory.write_stack(self._description | {"pids": {}})


def run(options: Options, *, announce: Callable[[dict[str, Any]], None], tell: Callable[[str], None]) -> None:
    """Runs a stack in the foreground until a signal stops it. Raises `StackError` when it cannot.

    What `tell` is told is also in `logs/up.log`.
    """
    directory = DataDir(options.data_dir)
    directory.create()
    try:
        directory.lock()
        with (directory.logs / "up.log").open("a") as log:

            def note(sentence: str) -> None:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")
                log.flush()

            def tell_and_note(sentence: str) -> None:
                note(sentence)
                tell(sentence)

            try:
                left = stop_leftovers(directory)
                if left:
                    tell_and_note(f"Stopped what an earlier run left: {', '.join(left)}.")
                asyncio.run(Stack(directory, options, announce=announce, tell=tell_and_note).run())
            except StackError as error:
                note(f"Could not start: {error}")
                raise
    except OSError as error:
        raise StackError(f"The stack on {directory.root} cannot run: {error}.") from error
    finally:
        directory.unlock()


def _stop_event(supervisor: Supervisor) -> asyncio.Event:
    """Set by the first signal that asks to stop; a second one kills what still runs."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, on_signal)
    return stop


def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
