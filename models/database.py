"""Connections to PostgreSQL: one `Database` per process (and event loop), a short transaction per use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import Row, TextClause, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.ext.asyncio import AsyncSession as PlainAsyncSession
from sqlalchemy.orm import Session as PlainSession
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn
from sqlmodel import Session as ModelSession
from sqlmodel.ext.asyncio.session import AsyncSession
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from models.keyring import TenantKeyring
from models.logins import APPLICATION_ROLE as APPLICATION_ROLE
from models.logins import SYSTEM_ROLE as SYSTEM_ROLE
from models.logins import refuse_if_unbound
from models.sealing import sealed_with
from omium_core.keyring import Cipher, KeyWrapper
from omium_core.master_keys import open_master_keys
from omium_core.settings import Settings

T = TypeVar("T")


def is_database_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be reached now, rather than that it refused a statement."""
    # while nobody can connect, the pool is full of those who try
    if isinstance(error, (ConnectionError, TimeoutError, OSError, PoolTimeout)):
        return True
    if isinstance(error, DBAPIError) and (
        error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    ):
        return True
    return isinstance(
        _of_driver(error),
        (
            asyncpg.PostgresConnectionError,
            asyncpg.CannotConnectNowError,
            asyncpg.TooManyConnectionsError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.InterfaceError,
            # a connection whose server said farewell, and which has not noticed its end yet
            asyncpg.InternalClientError,
        ),
    )


def _passes(error: BaseException) -> bool:
    """Whether the same work may succeed when it is done anew: nothing of it was done."""
    return is_database_away(error) or isinstance(_of_driver(error), asyncpg.DeadlockDetectedError)


def _of_driver(error: BaseException) -> BaseException:
    return (error.orig.__cause__ or error.orig) if isinstance(error, DBAPIError) and error.orig else error


class _AsyncSession(AsyncSession):
    """SQLModel's session, with SQLAlchemy's own `execute`: SQLModel's warns at each call that `exec` is to be preferred."""

    class sync_session_class(ModelSession):
        execute = PlainSession.execute

    execute = PlainAsyncSession.execute


#: Seconds that a connection has to end a transaction that failed.
_LAST_WORD = 5.0


class Database:
    """A pool of connections. Belongs to the event loop that uses it first.

    Every transaction belongs to a tenant, whose rows alone it sees and with whose key it seals, or to the platform itself
    (`system`), which sees the few columns that are needed before a tenant is known and no sealed value.
    """

    def __init__(self, url: str, wrapper: KeyWrapper, *, pool_size: int = 10, strict: bool = False) -> None:
        """`strict`: only as a login to which row security applies; any other gets a `ConfigurationError`."""
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            # a pool that waits in silence hides a leak; a request should hear of it
            pool_timeout=30,
            # transactions are begun below, in one round trip with what they need to know
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": 5, "command_timeout": 60},
            # errors are logged and may reach Temporal's history: values are users' texts
            hide_parameters=True,
        )
        if strict:
            event.listen(self.engine.sync_engine, "connect", refuse_if_unbound)
        self._most = 2 * pool_size
        self.keys = TenantKeyring(self, wrapper)

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        """A session whose block is one transaction of a tenant: committed at its end, rolled back on an error."""
        cipher = await self.keys.cipher(tenant_id)
        # a transaction pays one round trip for its begin, whatever it is told with it
        begin = f"BEGIN; SET LOCAL ROLE {APPLICATION_ROLE}; SET LOCAL omium.tenant_id = '{UUID(str(tenant_id))}'"
        with sealed_with(cipher):
            async with self._begun(begin) as session:
                yield session

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """A session whose block is one transaction of the platform itself."""
        # the connection may have been a tenant's
        begin = f"BEGIN; SET LOCAL ROLE {SYSTEM_ROLE}; SET LOCAL omium.tenant_id = ''"
        async with self._begun(begin) as session:
            yield session

    async def run(self, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[T]], *, patience: float = 60.0) -> T:
        """Runs `work` in a transaction, again and again for `patience` seconds while the database is away.

        The work must be repeatable: a commit whose answer was lost is tried a second time.
        """

        async def attempt() -> T:
            async with self.transaction(tenant_id) as session:
                return await work(session)

        return await self._patiently(attempt, patience)

    async def cipher(self, tenant_id: UUID, *, patience: float = 60.0) -> Cipher:
        """The tenant's cipher, for those who write sealed columns by `statement`; as patient as `run`."""
        return await self._patiently(lambda: self.keys.cipher(tenant_id), patience)

    async def statement(
        self, tenant_id: UUID, statement: TextClause, parameters: dict[str, Any], *, patience: float = 60.0
    ) -> Row[Any]:
        """Runs one statement that is atomic by itself and returns its only row; as patient as `run`.

        Without a transaction around it, it costs one round trip instead of three. Sealed values are the caller's affair.
        """

        async def attempt() -> Row[Any]:
            async with self._connection(None) as connection:
                await _belong_to(await connection.get_raw_connection(), tenant_id)
                return (await connection.execute(statement, parameters)).one()

        return await self._patiently(attempt, patience)

    async def row(self, tenant_id: UUID, query: str, *parameters: Any) -> asyncpg.Record | None:
        """The first row of a query that can be repeated, straight from the driver: a quarter of the work of `statement`.

        Parameters are `$1`, `$2` ...; JSON arrives as text, arrays of `ROW(...)` as tuples, sealed values as bytes.
        """
        for left in range(self._most, -1, -1):
            fairy = await self.engine.raw_connection()
            try:
                await _belong_to(fairy, tenant_id)
                found: asyncpg.Record | None = await fairy.driver_connection.fetchrow(query, *parameters)  # type: ignore[union-attr]
            except BaseException as error:
                # also one that was cancelled: a connection that is still busy must not go back to the pool
                await _to_the_end(_thrown_away(fairy, error))
                if left and is_database_away(error) and not isinstance(error, TimeoutError):
                    continue
                raise
            await greenlet_spawn(fairy.close)
            return found
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def patient_row(
        self, tenant_id: UUID, query: str, *parameters: Any, patience: float = 60.0
    ) -> asyncpg.Record:
        """The only row of such a query, which may change what is atomic by itself; as patient as `run`."""
        found = await self._patiently(lambda: self.row(tenant_id, query, *parameters), patience)
        assert found is not None
        return found

    async def close(self) -> None:
        await asyncio.shield(self.engine.dispose())

    @asynccontextmanager
    async def _begun(self, begin: str) -> AsyncIterator[AsyncSession]:
        async with self._connection(begin) as connection:
            try:
                async with _AsyncSession(connection, expire_on_commit=False) as session, session.begin():
                    yield session
                done = await _raw(await connection.get_raw_connection(), "COMMIT")
                if done != "COMMIT":
                    # PostgreSQL ends a transaction in which a statement failed like this, and calls it no error
                    raise RuntimeError("Nothing was committed: the block went on after an error of the database.")
            except BaseException:
                await _to_the_end(_abandon(connection))
                raise

    @asynccontextmanager
    async def _connection(self, begin: str | None) -> AsyncIterator[AsyncConnection]:
        """A connection on which a transaction was begun; those that died in the pool are thrown away first."""
        for left in range(self._most, -1, -1):
            async with self.engine.connect() as connection:
                if begin is not None:
                    try:
                        await _raw(await connection.get_raw_connection(), begin)
                    except Exception as error:
                        await _to_the_end(connection.invalidate(error))
                        # where nothing answers at all, the next one would take as long
                        if left and is_database_away(error) and not isinstance(error, TimeoutError):
                            continue
                        raise
                    except BaseException:
                        await _to_the_end(connection.invalidate())
                        raise
                yield connection
                return

    @staticmethod
    async def _patiently(work: Callable[[], Awaitable[T]], patience: float) -> T:
        """What `work` returns. While the database is away it is tried again and again for so many seconds, and also when two
        waited for each other and it was the one that gave way."""
        try:
            # the machinery of repetition costs as much as a statement: only those pay for it who need it
            return await work()
        except Exception as error:
            if patience <= 0 or not _passes(error):
                raise
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_passes),
            wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1),
            stop=stop_after_delay(patience),
            reraise=True,
        ):
            with attempt:
                return await work()
        raise AssertionError("unreachable: the last attempt returns or raises")


def open_database(settings: Settings) -> Database:
    """The database that the settings name, with their master keys. `ConfigurationError` when these cannot be read."""
    url, strict = settings.database_url.get_secret_value(), settings.environment == "production"
    return Database(url, open_master_keys(settings), pool_size=settings.database_pool_size, strict=strict)


async def _raw(fairy: Any, statements: str) -> str:
    """Statements without parameters in one round trip, as only the driver itself sends them; what the last one says."""
    status: str = await fairy.driver_connection.execute(statements)
    return status


async def _belong_to(fairy: PoolProxiedConnection, tenant_id: UUID) -> None:
    """Makes a connection the tenant's for statements outside a transaction, unless it is already."""
    if fairy.info.get("omium_tenant") != tenant_id:
        fairy.info.pop("omium_tenant", None)
        await _raw(fairy, f"SET ROLE {APPLICATION_ROLE}; SET omium.tenant_id = '{UUID(str(tenant_id))}'")
        fairy.info["omium_tenant"] = tenant_id


async def _thrown_away(fairy: PoolProxiedConnection, error: BaseException) -> None:
    await greenlet_spawn(fairy.invalidate, error)


async def _abandon(connection: AsyncConnection) -> None:
    """Ends what was begun on it; a connection that does not do that at once is thrown away."""
    if connection.invalidated:
        return
    try:
        async with asyncio.timeout(_LAST_WORD):
            await _raw(await connection.get_raw_connection(), "ROLLBACK")
    except Exception as error:
        await connection.invalidate(error)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Waits until it is done, however often the waiting task is cancelled: a connection that is still busy must not go
    back to the pool."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()
