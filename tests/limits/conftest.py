"""A tenant with a workflow on the suite's PostgreSQL, and rows that wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from models.database import Database
from models.tables import Execution, Tenant, Workflow, WorkflowVersion
from tests.support.database import PostgresServer, database_at
from tests.support.tenants import add_tenant


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = database_at(postgres.url, pool_size=20)
    yield database
    await database.close()


@dataclass
class World:
    """A tenant that may have `limit` executions under way."""

    database: Database
    tenant_id: UUID
    workflow: Workflow
    version: WorkflowVersion

    def execution(self, **values: Any) -> Execution:
        given = {
            "tenant_id": self.tenant_id,
            "workflow_id": self.workflow.id,
            "version_id": self.version.id,
            "workflow_version": 1,
            "framework": "langgraph",
            "title": "test",
            **values,
        }
        return Execution(**given)

    async def add(self, count: int = 1, **values: Any) -> list[UUID]:
        """Ids of new executions, in the order in which they came."""
        rows = [self.execution(**values) for _ in range(count)]
        async with self.database.transaction(self.tenant_id) as session:
            session.add_all(rows)
        return [row.id for row in rows]

    async def set(self, execution_id: UUID, **values: Any) -> None:
        async with self.database.transaction(self.tenant_id) as session:
            await session.execute(update(Execution).where(col(Execution.id) == execution_id).values(**values))

    async def get(self, execution_id: UUID) -> Execution:
        async with self.database.transaction(self.tenant_id) as session:
            found = await session.get(Execution, execution_id)
            assert found is not None
            return found

    async def admitted(self) -> set[UUID]:
        """Those that have a place and have not ended."""
        query = select(col(Execution.id)).where(
            col(Execution.tenant_id) == self.tenant_id,
            col(Execution.status).in_(("pending", "running")),
            col(Execution.admitted_at).is_not(None),
        )
        async with self.database.transaction(self.tenant_id) as session:
            return set((await session.execute(query)).scalars())


Make = Callable[[int], Awaitable[World]]


@pytest.fixture
def world(database: Database) -> Make:
    async def make(limit: int) -> World:
        tenant_id = await add_tenant(database)
        async with database.system() as session:
            await session.execute(
                update(Tenant).where(col(Tenant.id) == tenant_id).values(max_concurrent_executions=limit)
            )
        workflow = Workflow(tenant_id=tenant_id, name="test", framework="langgraph")
        version = WorkflowVersion(tenant_id=tenant_id, workflow_id=workflow.id, version=1, framework="langgraph")
        async with database.transaction(tenant_id) as session:
            session.add(workflow)
            await session.flush()
            session.add(version)
        return World(database, tenant_id, workflow, version)

    return make
