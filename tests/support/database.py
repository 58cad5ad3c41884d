"""A real PostgreSQL for tests, with the schema and the first tenant, which can be killed and started again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psutil
from sqlalchemy import delete, select, text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.loops import LoopThread
from models.bootstrap import BOOTSTRAP_SLUG
from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.steps import open_attempt
from models.tables import Execution, JournalEntry, Tenant, Workflow, WorkflowVersion
from omium_core.keyring import MasterKeys
from omium_core.settings import DEVELOPMENT_MASTER_KEY, Settings
from tests.support.loopback import free_port, wait_until
from workers.local import postgres
from workers.local.datadir import DataDir, Secrets
from workers.local.processes import die_with_parent
from workers.local.schema import prepare

T = TypeVar("T")


def database_at(url: str, *, pool_size: int = 5) -> Database:
    """A `Database` with the master key of a fresh checkout."""
    return Database(url, MasterKeys(DEVELOPMENT_MASTER_KEY), pool_size=pool_size)


async def first_tenant(database: Database) -> UUID:
    """Id of the tenant that a new installation begins with."""
    async with database.system() as db:
        found: UUID = (await db.execute(select(col(Tenant.id)).where(col(Tenant.slug) == BOOTSTRAP_SLUG))).scalar_one()
    return found


class PostgresServer:
    """One server on a port of its own; `url` names its database. Killing it loses nothing that was committed."""

    def __init__(self, cluster: postgres.Cluster, secrets: Secrets, log: Path) -> None:
        self._cluster, self._log = cluster, log
        port = free_port()
        self.url = postgres.url(secrets, port, driver="+asyncpg")
        self._part = postgres.part(cluster, port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes connections; as under a supervisor, a server that ends instead is started again."""
        try:
            wait_until(self._is_ready, seconds=60, what="PostgreSQL")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self._log.read_text(errors='replace')[-2000:]}") from None

    def _launch(self) -> None:
        self._part.before_start()
        account = self._cluster.account
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._part.command,
                cwd="/",
                env=dict(self._part.env),
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(self._part.death_signal),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _is_ready(self) -> bool:
        if not self.is_running:
            self._launch()
        assert self._process is not None
        return asyncio.run(self._is_ready_as(self._process.pid))

    async def _is_ready_as(self, pid: int) -> bool:
        return await self._part.ready(pid)

    def kill(self) -> None:
        """SIGKILL for the server and all its processes; returns when they are gone."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        main.suspend()  # it makes no more of them, which would keep its memory from the next server
        children = main.children(recursive=True)
        main.kill()
        self._process.wait(60)
        for process in children:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, timeout=10)

    def stop(self) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(self._part.stop_signal)
            self._process.wait(60)
        if not self._cluster.home.is_relative_to(Path("/tmp")):
            shutil.rmtree(self._cluster.home, ignore_errors=True)


@contextmanager
def running_postgres(folder: Path, *, prepared: bool = True) -> Iterator[PostgresServer]:
    """A new server with its files in `folder` (or where the launcher puts root's), prepared like that of `omium up`, or
    with nothing in it, not even a database."""
    directory, secrets = DataDir(folder), Secrets.new()
    directory.create()
    cluster = postgres.place(directory, secrets)
    asyncio.run(postgres.initialise(cluster, directory, secrets))
    server = PostgresServer(cluster, secrets, directory.logs / "server.log")
    try:
        server.start()
        if prepared:
            asyncio.run(prepare(Settings(database_url=server.url), secrets.api_key))
        yield server
    finally:
        server.stop()


class Rows:
    """What tests write and read in the database, from any thread."""

    def __init__(self, url: str) -> None:
        self._loop = LoopThread("rows-of-tests")
        self.database = database_at(url, pool_size=2)
        self.tenant_id: UUID = self.wait(first_tenant(self.database))

    def close(self) -> None:
        self.wait(self.database.close())
        self._loop.stop()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop.loop).result(timeout=60)

    def run(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        return self.wait(self.database.run(self.tenant_id, work))

    def new_execution(self) -> UUID:
        """Id of an execution of an empty workflow."""

        async def work(db: AsyncSession) -> UUID:
            common: dict[str, Any] = {"tenant_id": self.tenant_id, "framework": "langgraph"}
            workflow = Workflow(name="test", **common)
            version = WorkflowVersion(workflow_id=workflow.id, version=1, **common)
            execution = Execution(
                workflow_id=workflow.id, version_id=version.id, workflow_version=1, title="test", **common
            )
            for row in (workflow, version, execution):
                db.add(row)
                await db.flush()
            return execution.id

        return self.run(work)

    def begin_attempt(self, step: StepKey) -> int:
        """The number of the new attempt, which fences off the ones before."""
        opened = self.wait(open_attempt(self.database, self.tenant_id, step, name="step", framework="langgraph"))
        assert opened.attempt is not None
        return opened.attempt

    def move_to_lineage(self, execution_id: UUID, lineage: int) -> None:
        """As after a rollback."""

        async def work(db: AsyncSession) -> None:
            await db.execute(update(Execution).where(col(Execution.id) == execution_id).values(lineage=lineage))

        self.run(work)

    def delete_execution(self, execution_id: UUID) -> None:
        async def work(db: AsyncSession) -> None:
            await db.execute(delete(Execution).where(col(Execution.id) == execution_id))

        self.run(work)

    def forget_journal(self, execution_id: UUID) -> None:
        """As if the worker had died each time before it could write."""

        async def work(db: AsyncSession) -> None:
            await db.execute(delete(JournalEntry).where(col(JournalEntry.execution_id) == execution_id))

        self.run(work)

    def journal(self, execution_id: UUID) -> list[JournalEntry]:
        """The journaled calls of an execution, oldest first."""

        async def work(db: AsyncSession) -> list[JournalEntry]:
            query = select(JournalEntry).where(col(JournalEntry.execution_id) == execution_id)
            return list((await db.execute(query.order_by(col(JournalEntry.id)))).scalars())

        return self.run(work)

    def wait_for_journal(self, execution_id: UUID, n: int, seconds: float = 60.0) -> list[JournalEntry]:
        """The journal as soon as it holds n calls."""
        end = time.monotonic() + seconds
        while len(entries := self.journal(execution_id)) < n:
            if time.monotonic() > end:
                raise TimeoutError(f"the journal has {len(entries)} of {n} calls")
            time.sleep(0.01)
        return entries

    @contextmanager
    def journal_locked(self) -> Iterator[None]:
        """Inside the block the journal can be read, and every write to it waits."""
        release = asyncio.Event()
        locked = Future[None]()

        async def hold() -> None:
            async with self.database.transaction(self.tenant_id) as db:
                await db.execute(text("LOCK TABLE call_journal IN EXCLUSIVE MODE"))
                locked.set_result(None)
                await release.wait()

        holding = asyncio.run_coroutine_threadsafe(hold(), self._loop.loop)
        locked.result(timeout=60)
        try:
            yield
        finally:
            self._loop.loop.call_soon_threadsafe(release.set)
            holding.result(timeout=60)

    def wait_for_blocked_write(self) -> None:
        """Returns when somebody waits for a lock."""
        query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

        async def work(db: AsyncSession) -> int:
            return int((await db.execute(query)).scalar_one())

        wait_until(lambda: self.run(work) > 0, seconds=30, what="a write that is blocked")
