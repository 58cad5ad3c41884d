"""Runs that are made up, as a test remembers them, and the same as rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.tables import Agent, AgentMetrics, Execution, Failure, Workflow, WorkflowVersion
from models.tables.base import new_id

ENDED = ("completed", "failed", "cancelled")


@dataclass
class MadeStep:
    """A step that ended `after` its run was made."""

    after: timedelta
    model: str | None = None
    calls: int = 0
    tokens: int = 0
    cost: int = 0
    tools: int = 0
    size: int = 10


@dataclass
class MadeRun:
    """One run. `took` is its duration where it ended."""

    workflow: UUID
    framework: str
    status: str
    made: datetime
    took: timedelta = timedelta(seconds=1)
    failures: list[str] = field(default_factory=list)
    steps: list[MadeStep] = field(default_factory=list)
    retries: int = 0
    id: UUID = field(default_factory=new_id)

    @property
    def milliseconds(self) -> int:
        return int(self.took / timedelta(milliseconds=1))

    @property
    def model(self) -> str | None:
        """The one that answered most of its calls."""
        calls: dict[str, int] = {}
        for step in self.steps:
            if step.model is not None:
                calls[step.model] = calls.get(step.model, 0) + step.calls
        return min(calls, key=lambda name: (-calls[name], name)) if calls else None

    def sum(self, name: str) -> int:
        return sum(getattr(step, name) for step in self.steps)


async def add_workflow(database: Database, tenant: UUID, name: str = "flow") -> UUID:
    workflow = Workflow(tenant_id=tenant, name=name, framework="langgraph")
    async with database.transaction(tenant) as session:
        session.add(workflow)
        await session.flush()
        session.add(WorkflowVersion(tenant_id=tenant, workflow_id=workflow.id, version=1, framework="langgraph"))
    return workflow.id


async def write(database: Database, tenant: UUID, run: MadeRun) -> None:
    """The rows that it leaves: made while it runs, and its end at last."""
    async with database.transaction(tenant) as session:
        version: UUID = (
            await session.execute(
                text("SELECT id FROM workflow_versions WHERE workflow_id = :workflow"), {"workflow": run.workflow}
            )
        ).scalar_one()
        session.add(
            Execution(
                id=run.id,
                tenant_id=tenant,
                workflow_id=run.workflow,
                version_id=version,
                workflow_version=1,
                framework=run.framework,
                title="made up",
                status="running",
                retry_count=run.retries,
                created_at=run.made,
                started_at=run.made,
            )
        )
        await session.flush()
        for index, step in enumerate(run.steps):
            agent = Agent(
                tenant_id=tenant,
                execution_id=run.id,
                step_index=index,
                name=f"step {index}",
                framework=run.framework,
                status="completed",
                attempt=1,
            )
            session.add(agent)
            await session.flush()
            session.add(
                AgentMetrics(
                    tenant_id=tenant,
                    agent_id=agent.id,
                    execution_id=run.id,
                    workflow_id=run.workflow,
                    framework=run.framework,
                    status="completed",
                    llm_model=step.model,
                    llm_calls=step.calls,
                    tokens_used=step.tokens,
                    cost_micro=step.cost,
                    tool_calls=step.tools,
                    checkpoint_bytes=step.size,
                    measured_at=run.made + step.after,
                )
            )
        for kind in run.failures:
            session.add(
                Failure(
                    tenant_id=tenant, execution_id=run.id, failure_type=kind, error_message="x", created_at=run.made
                )
            )
            await session.flush()
        await session.flush()
        await _stand(session, run)


async def change(database: Database, tenant: UUID, run: MadeRun, status: str, retries: int) -> None:
    """What happens to it later."""
    run.status, run.retries = status, retries
    async with database.transaction(tenant) as session:
        await _stand(session, run)


async def fail(database: Database, tenant: UUID, run: MadeRun, kind: str) -> None:
    """One more failure."""
    run.failures.append(kind)
    async with database.transaction(tenant) as session:
        session.add(
            Failure(tenant_id=tenant, execution_id=run.id, failure_type=kind, error_message="x", created_at=run.made)
        )


async def _stand(session: AsyncSession, run: MadeRun) -> None:
    ended = run.made + run.took if run.status in ENDED else None
    await session.execute(
        update(Execution)
        .where(col(Execution.id) == run.id)
        .values(status=run.status, completed_at=ended, retry_count=run.retries)
    )
