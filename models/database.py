"""Connections to PostgreSQL: one `Database` per process (and event loop), a short transaction per use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Row, TextClause
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

T = TypeVar("T")


def is_database_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be reached now, rather than that it refused a statement."""
    # while nobody can connect, the pool is full of those who try
    if isinstance(error, (ConnectionError, TimeoutError, OSError, PoolTimeout)):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
            return True
        error = error.orig.__cause__ or error.orig if error.orig else error
    return isinstance(
        error,
        (
            asyncpg.PostgresConnectionError,
            asyncpg.CannotConnectNowError,
            asyncpg.TooManyConnectionsError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.InterfaceError,
        ),
    )


class Database:
    """A pool of connections. Belongs to the event loop that uses it first."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            # a pool that waits in silence hides a leak; a request should hear of it
            pool_timeout=30,
            connect_args={"timeout": 5, "command_timeout": 60},
            # errors are logged and may reach Temporal's history: values are users' texts
            hide_parameters=True,
        )
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose block is one transaction: committed at its end, rolled back on an error."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def run(self, work: Callable[[AsyncSession], Awaitable[T]], *, patience: float = 60.0) -> T:
        """Runs `work` in a transaction, again and again for `patience` seconds while the database is away.

        The work must be repeatable: a commit whose answer was lost is tried a second time.
        """
        async for attempt in self._patiently(patience):
            with attempt:
                async with self.transaction() as session:
                    return await work(session)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def statement(self, statement: TextClause, parameters: dict[str, Any], *, patience: float = 60.0) -> Row[Any]:
        """Runs one statement that is atomic by itself and returns its only row; as patient as `run`.

        Without a transaction around it, it costs one round trip instead of three.
        """
        async for attempt in self._patiently(patience):
            with attempt:
                async with self._autocommit.connect() as connection:
                    return (await connection.execute(statement, parameters)).one()
        raise AssertionError("unreachable: the last attempt returns or raises")

    @staticmethod
    def _patiently(patience: float) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(is_database_away),
            wait=wait_exponential_jitter(initial=0.05, max=1.0, jitter=0.1),
            stop=stop_after_delay(patience),
            reraise=True,
        )

    async def close(self) -> None:
        await asyncio.shield(self.engine.dispose())
