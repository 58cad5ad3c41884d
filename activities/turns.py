"""Starts executions whose turn has come, wherever a place becomes free: one entry for all who make executions wait.

Whoever has committed a row as `pending` calls `start_waiting`; the API, which admits in the transaction that makes the row,
calls `begin` for what it admitted. A worker that frees a place tells `Turns`. What is lost when one of them dies, the
reconciler finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from tenacity import AsyncRetrying, retry_if_exception_type, retry_never, stop_after_delay, wait_fixed

from activities.launch import launch
from activities.position import Position, is_new, load_position
from models.database import Database, is_database_away
from models.repositories.executions import ExecutionRepository
from models.repositories.queue import admit, is_anybody_waiting
from models.tables import Execution
from omium_core.errors import NotFound
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: How long the start of a run waits for Temporal before it is left to the reconciler.
LAUNCH_PATIENCE = timedelta(seconds=5)
#: How long, in seconds, it waits for the run before the one that is taken up again to close.
CLOSING_PATIENCE = 2.0


async def begin(
    client: Client, database: Database, settings: Settings, execution: Execution, *, tier: str | None = None
) -> None:
    """Starts the run of a committed row that was admitted, or does nothing if Temporal does not take it now.

    `tier` is the tenant's, where it is known.
    """
    position = Position()
    if not is_new(execution):
        async with database.transaction(execution.tenant_id) as session:
            position = await load_position(session, execution)
    weight = await fairness_weight(database, settings, execution.tenant_id, tier)
    try:
        async for attempt in AsyncRetrying(
            # the run that failed has told so and is closing
            retry=retry_if_exception_type(WorkflowAlreadyStartedError) if execution.retry_count else retry_never,
            wait=wait_fixed(0.02),
            stop=stop_after_delay(CLOSING_PATIENCE),
            reraise=True,
        ):
            with attempt:
                await launch(client, execution, settings, weight=weight, position=position, patience=LAUNCH_PATIENCE)
    except (RPCError, RuntimeError, WorkflowAlreadyStartedError) as error:
        # the row is committed: the reconciler starts it as soon as Temporal answers
        log.warning("Temporal did not take the run yet", execution_id=str(execution.id), error=str(error))


async def fairness_weight(database: Database, settings: Settings, tenant_id: UUID, tier: str | None = None) -> float:
    """How many turns a tenant gets where several wait for the same workers: by its tier."""
    if tier is None:
        row = await database.row(tenant_id, "SELECT subscription_tier FROM tenants WHERE id = $1", tenant_id)
        tier = "" if row is None else str(row[0])
    return settings.fairness_weights.get(tier, 1.0)


async def begin_admitted(
    client: Client, database: Database, settings: Settings, tenant_id: UUID, execution_ids: Iterable[UUID]
) -> None:
    """Starts executions of a tenant that were admitted, the first one first."""
    for execution_id in execution_ids:
        async with database.transaction(tenant_id) as session:
            execution = await ExecutionRepository(session, tenant_id).get(execution_id)
        if execution.status == "pending":
            await begin(client, database, settings, execution)


async def start_waiting(client: Client, database: Database, settings: Settings, tenant_id: UUID) -> list[UUID]:
    """Starts as many of a tenant's waiting executions as there are places, the oldest first; their ids."""
    async with database.transaction(tenant_id) as session:
        admitted = await admit(session, tenant_id)
    await begin_admitted(client, database, settings, tenant_id, admitted)
    return admitted


class Turns:
    """Hears in a worker of places that became free, and gives them to those who wait. Belongs to one event loop."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._freed: set[UUID] = set()
        self._heard = asyncio.Event()

    def place_freed(self, tenant_id: UUID) -> None:
        """An execution of this tenant ended or paused. Returns at once."""
        self._freed.add(tenant_id)
        self._heard.set()

    async def run(self, client: Client) -> None:
        """For ever; many places that become free together are given away together."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            tenants, self._freed = self._freed, set()
            for tenant_id in tenants:
                await self._next(client, tenant_id)

    async def _next(self, client: Client, tenant_id: UUID) -> None:
        try:
            if await is_anybody_waiting(self._database, tenant_id):
                await start_waiting(client, self._database, self._settings, tenant_id)
        except NotFound as error:
            log.info("nobody waits any more", tenant_id=str(tenant_id), reason=error.message)
        except Exception as error:
            if not (is_database_away(error) or isinstance(error, RPCError)):
                raise
            log.warning("the next execution is left to the reconciler", tenant_id=str(tenant_id), error=str(error))
