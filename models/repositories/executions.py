"""Executions and their steps, as the control plane reads and makes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.tables import Agent, Execution
from models.tables.base import now
from omium_core.errors import AgentNotFound, ExecutionNotFound


class ExecutionRepository(Repository):
    async def add(self, execution: Execution, agents: Sequence[Agent]) -> None:
        self.session.add(execution)
        # the mapper does not order rows by their foreign keys
        await self.session.flush()
        if agents:
            self.session.add_all(agents)
            await self.session.flush()

    async def get(self, execution_id: UUID, *, lock: bool = False) -> Execution:
        query = select(Execution).where(col(Execution.tenant_id) == self.tenant_id, col(Execution.id) == execution_id)
        execution = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        if execution is None:
            raise ExecutionNotFound(f"Execution {execution_id} does not exist.", execution_id=str(execution_id))
        return execution

    async def agents(self, execution_id: UUID, lineage: int) -> Sequence[Agent]:
        """The steps of one lineage, in order."""
        query = (
            select(Agent)
            .where(
                col(Agent.tenant_id) == self.tenant_id,
                col(Agent.execution_id) == execution_id,
                col(Agent.lineage) == lineage,
            )
            .order_by(col(Agent.step_index))
        )
        return (await self.session.execute(query)).scalars().all()

    async def agent(self, execution_id: UUID, agent_id: UUID) -> Agent:
        """A step of an execution by its id, else `AgentNotFound`."""
        step = await self.find_agent(execution_id, str(agent_id))
        if step is None:
            raise AgentNotFound(f"Agent {agent_id} is none of this execution.", agent_id=str(agent_id))
        return step

    async def find_agent(self, execution_id: UUID, agent_id: str) -> Agent | None:
        """A step of an execution by its id; None also for a text that is no id."""
        try:
            wanted = UUID(agent_id)
        except ValueError:
            return None
        query = select(Agent).where(
            col(Agent.tenant_id) == self.tenant_id, col(Agent.execution_id) == execution_id, col(Agent.id) == wanted
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def step_named(self, execution_id: UUID, name: str) -> Agent | None:
        """The newest step of a name: where an agent last acted."""
        query = (
            select(Agent)
            .where(
                col(Agent.tenant_id) == self.tenant_id,
                col(Agent.execution_id) == execution_id,
                col(Agent.name) == name[:255],
            )
            .order_by(col(Agent.lineage).desc(), col(Agent.step_index).desc())
            .limit(1)
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def list(
        self,
        page: Page,
        *,
        status: str | None = None,
        workflow_id: UUID | None = None,
        framework: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Listing[Execution]:
        query = select(Execution).where(col(Execution.tenant_id) == self.tenant_id)
        if status is not None:
            query = query.where(col(Execution.status) == status)
        if workflow_id is not None:
            query = query.where(col(Execution.workflow_id) == workflow_id)
        if framework is not None:
            query = query.where(col(Execution.framework) == framework)
        if created_after is not None:
            query = query.where(col(Execution.created_at) > created_after)
        if created_before is not None:
            query = query.where(col(Execution.created_at) < created_before)
        return await self._page(query, Execution, page)


#: An execution by its tenant and its id: what the platform itself may see of it.
Known = tuple[UUID, UUID]


async def running_executions(
    session: AsyncSession, *, older_than: float, after: UUID | None, limit: int = 100
) -> list[Known]:
    """Those of all tenants that are under way and were not touched for `older_than` seconds: for the reconciler.

    In the order of their ids, those beyond `after` only, so that one look after the other sees all of them.
    """
    query = select(col(Execution.tenant_id), col(Execution.id)).where(
        col(Execution.status) == "running", col(Execution.updated_at) < now() - timedelta(seconds=older_than)
    )
    if after is not None:
        query = query.where(col(Execution.id) > after)
    found = await session.execute(query.order_by(col(Execution.id)).limit(limit))
    return [(row[0], row[1]) for row in found]


async def running_among(session: AsyncSession, execution_ids: Sequence[UUID]) -> list[Known]:
    """Which of these executions of any tenants are under way: for the reconciler."""
    query = select(col(Execution.tenant_id), col(Execution.id)).where(
        col(Execution.id).in_(execution_ids), col(Execution.status).in_(("running", "paused"))
    )
    return [(row[0], row[1]) for row in await session.execute(query)]
