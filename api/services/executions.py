"""Executions: start exactly one per wish, read.

Two systems, one order of writing: the row is committed first, then the workflow is started under an id made from the row's.
If this process dies in between, the reconciler in the workers starts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.starting import make_execution
from activities.stores.values import Stored
from api.auth.principal import Principal
from api.limits.sizes import check_input_size
from api.schemas.common import json_problems
from api.schemas.executions import ExecutionDetail, ExecutionSummary
from api.services import idempotency, views
from api.services.auditing import detailed
from api.services.launching import launch_admitted
from api.services.lineage import present_steps
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.events import EventRepository
from models.repositories.execution_reads import read_execution
from models.repositories.executions import ExecutionRepository
from models.repositories.journal import JournalRepository
from models.repositories.lineages import LineageRepository
from models.repositories.queue import admit
from models.repositories.starts import Paying
from models.tables import Execution, ExecutionEvent
from omium_core.errors import InvalidInput

STARTED = Counter("omium_executions_total", "Executions started", ["framework"])


@dataclass(frozen=True)
class Wish:
    """What a caller wants to have run."""

    workflow_id: UUID
    inputs: dict[str, Any]
    metadata: dict[str, Any]
    trigger_type: str = "api"
    idempotency_key: str | None = None
    #: What it may spend, in millionths of a credit.
    budget: int | None = None

    def hash(self) -> str:
        """Equal for equal wishes, whichever door they came through."""
        # as it was before there were budgets, for requests without one
        budget = () if self.budget is None else (self.budget,)
        return idempotency.request_hash(self.workflow_id, self.inputs, self.metadata, *budget)


class ExecutionService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def start(self, caller: Principal, wish: Wish) -> Execution:
        """The execution of a wish: a new one, or the one that the same Idempotency-Key already started."""
        problems = json_problems(wish.inputs, "inputs") + json_problems(wish.metadata, "metadata")
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        check_input_size(self._process.settings, wish.inputs)
        key = wish.idempotency_key
        try:
            async with self._process.database.transaction(caller.tenant_id) as session:
                earlier = await self._earlier(session, caller, key, wish.hash())
                if earlier is not None:
                    return earlier
                await self._process.limits.check_checkpoints(session, caller.tenant_id)
                execution = await make_execution(
                    session,
                    self._process.values,
                    caller.tenant_id,
                    workflow_id=wish.workflow_id,
                    inputs=wish.inputs,
                    metadata=wish.metadata,
                    trigger_type=wish.trigger_type,
                    triggered_by=caller.user_id,
                    paying=Paying(self._process.settings.enforces_credits, caller.key_id, wish.budget),
                )
                await idempotency.claim(session, caller, key, wish.hash(), execution.id)
                admitted = await admit(session, caller.tenant_id)
        except idempotency.KeyTaken:
            # another request with this key committed while we were making ours, which is rolled back
            async with self._process.database.transaction(caller.tenant_id) as session:
                earlier = await self._earlier(session, caller, key, wish.hash())
            if earlier is None:
                raise
            return earlier
        detailed(new={"execution_id": execution.id, "version": execution.workflow_version})
        STARTED.labels(execution.framework).inc()
        await launch_admitted(self._process, execution, admitted, tier=caller.tier)
        return execution

    async def get(self, caller: Principal, execution_id: UUID) -> ExecutionDetail:
        execution = await read_execution(self._process.database, caller.tenant_id, execution_id)
        agents = execution.agents
        if execution.lineage > 0:
            async with self._process.database.transaction(caller.tenant_id) as session:
                agents = await present_steps(agents, LineageRepository(session, caller.tenant_id), execution)
        tenant = str(caller.tenant_id)
        inputs = await self._process.values.read(tenant, Stored(execution.inputs, execution.inputs_blob))
        outputs = await self._process.values.read(tenant, Stored(execution.outputs, execution.outputs_blob))
        return views.execution_detail(execution, agents, inputs, outputs, self._process.settings)

    async def events(
        self, caller: Principal, execution_id: UUID, after: UUID | None, limit: int
    ) -> list[ExecutionEvent]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            return list(await EventRepository(session, caller.tenant_id).list(execution_id, after=after, limit=limit))

    async def search(
        self, caller: Principal, page: Page, **filters: Any
    ) -> tuple[Listing[Execution], list[ExecutionSummary]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await ExecutionRepository(session, caller.tenant_id).list(page, **filters)
            usage = await JournalRepository(session, caller.tenant_id).usage([row.id for row in found.rows])
        return found, [views.execution_summary(row, usage.get(row.id, [])) for row in found.rows]

    @staticmethod
    async def _earlier(session: AsyncSession, caller: Principal, key: str | None, digest: str) -> Execution | None:
        """The execution that a request with this key already started or took up."""
        execution_id = await idempotency.earlier(session, caller, key, digest)
        return None if execution_id is None else await ExecutionRepository(session, caller.tenant_id).get(execution_id)
