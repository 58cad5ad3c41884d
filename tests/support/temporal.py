"""A Temporal server for tests that need no more of the platform, and a worker of the light queue in this process."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from temporalio.client import Client

from activities.payload_codec import sealing_converter
from activities.stores.encrypted import EncryptedStore
from activities.stores.factory import open_bytes
from activities.stores.values import ValueStore
from omium_core.connect import connect_temporal
from omium_core.settings import Settings
from tests.support.database import database_at
from tests.support.loopback import free_port, wait_until
from workers.local import temporal_server
from workers.local.datadir import DataDir
from workers.local.processes import die_with_parent
from workers.maintenance import build_maintenance_worker


@contextmanager
def running_temporal(folder: Path) -> Iterator[str]:
    """The address of a new server with its files in `folder`."""
    directory = DataDir(folder)
    directory.create()
    names = ("temporal", "temporal_ui", "temporal_http", "temporal_metrics")
    part = temporal_server.part(directory, {name: free_port() for name in names})
    process = subprocess.Popen(
        part.command,
        cwd=part.cwd,
        env={**os.environ, **part.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(part.death_signal),
    )
    try:
        wait_until(lambda: asyncio.run(_is_ready(part, process.pid)), seconds=60, what="Temporal")
        yield part.address
    finally:
        process.kill()
        process.wait(60)


async def _is_ready(part: temporal_server.Part, pid: int) -> bool:
    return await part.ready(pid)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    """A worker of the light queue, with the client that it uses."""
    database = database_at(settings.database_url.get_secret_value())
    client = await connect_temporal(settings, sealing_converter(database.keys))
    values = ValueStore(EncryptedStore(open_bytes(settings), database.keys), inline_bytes=settings.inline_bytes)
    try:
        async with build_maintenance_worker(client, database, values, settings):
            yield client
    finally:
        await database.close()
