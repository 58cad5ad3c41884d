"""Runs as workers leave them in the database, made by the statements that workers use, and rollbacks of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.frameworks import Frameworks
from activities.loops import LoopThread
from activities.position import Position, load_position
from activities.rollback_plan import RollbackPlan, plan_rollback
from activities.rollbacks import RollbackActivities
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from activities.undo import Patience
from models.database import Database
from models.repositories.effects import EffectRepository, NewEffect, begin_effect
from models.repositories.journal import JournalRepository, StepKey
from models.repositories.lineages import LineageRepository
from models.repositories.steps import CompletedStep, open_attempt, record_completed_step
from models.tables import (
    Agent,
    Approval,
    Checkpoint,
    Effect,
    Execution,
    ExecutionEvent,
    JournalEntry,
    Lineage,
    Rollback,
    Table,
    Workflow,
    WorkflowVersion,
)
from models.tables.base import new_id
from models.wire import FlowNode, RollbackInput, RollbackOutcome
from omium_core.keyring import MasterKeys
from omium_core.settings import DEVELOPMENT_MASTER_KEY, Settings
from tests.steering.service import Clock, Service

T = TypeVar("T")
Row = TypeVar("Row", bound=Table)

#: A graph whose parts can be edited; the tests make its states themselves.
DEFINITION: dict[str, Any] = {
    "state": {"topic": {"type": "string"}, "draft": {"type": "string"}, "score": {"type": "integer"}},
    "nodes": [
        {"id": "plan", "type": "llm", "prompt": "Plan {{ topic }}.", "output": "draft"},
        {"id": "write", "type": "llm", "prompt": "Write {{ draft }}.", "output": "draft"},
    ],
    "edges": [{"from": "START", "to": "plan"}, {"from": "plan", "to": "write"}, {"from": "write", "to": "END"}],
}
PATIENCE = Patience(settle=0.05, attempts=3, first_pause=0.01, longest_pause=0.02)


class MortalDatabase(Database):
    """A database whose client may die before and after each commit."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, MasterKeys(DEVELOPMENT_MASTER_KEY), pool_size=2)
        self.clock = clock

    async def run(self, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[T]], *, patience: float = 60.0) -> T:
        self.clock.tick()
        result = await super().run(tenant_id, work, patience=patience)
        self.clock.tick()
        return result


class World:
    """What the runs of one tenant work with."""

    def __init__(self, database: Database, tenant: UUID, folder: Path) -> None:
        self.database = database
        self.tenant = tenant
        self.service = Service()
        self.tools = self.service.tools()
        self.values = ValueStore(FileStore(folder / "store"), inline_bytes=1000)
        self._loop = LoopThread("agents-of-a-test")
        self._frameworks = Frameworks(Settings(), folder, self.tools, self._loop, self.values)

    def close(self) -> None:
        self._loop.stop()

    def activities(self, database: Database | None = None) -> RollbackActivities:
        """The rollbacks of one worker process."""
        return RollbackActivities(database or self.database, self.values, self.tools, self._frameworks, PATIENCE)

    async def new_run(self, *, flow: Sequence[FlowNode] = (), **fields: Any) -> Run:
        framework = "flow" if flow else "langgraph"
        common: dict[str, Any] = {"tenant_id": self.tenant, "framework": framework}
        workflow = Workflow(name="of a test", **common)
        version = WorkflowVersion(
            workflow_id=workflow.id, version=1, workflow_definition=fields.pop("definition", DEFINITION), **common
        )
        execution = Execution(
            workflow_id=workflow.id,
            version_id=version.id,
            workflow_version=1,
            title="of a test",
            status="running",
            inputs={"topic": "tea"},
            first_step="plan",
            flow=[asdict(node) for node in flow] or None,
            **{**common, **fields},
        )
        for row in (workflow, version, execution):
            await self.write(row)
        return Run(self, execution.id)

    async def write(self, *rows: Table) -> None:
        async with self.database.transaction(self.tenant) as session:
            for row in rows:
                session.add(row)
                await session.flush()


class Run:
    """One execution, and what its steps do."""

    def __init__(self, world: World, execution_id: UUID) -> None:
        self.world = world
        self.id = execution_id
        self._calls = 0

    # What workers do

    async def begin(self, index: int, name: str = "step", *, branch: str = "") -> int:
        """Opens an attempt of a step of the present lineage; its number."""
        key = StepKey(self.id, (await self.row()).lineage, index)
        opened = await open_attempt(
            self.world.database, self.world.tenant, key, name=name, framework="langgraph", branch=branch
        )
        assert opened.attempt is not None
        return opened.attempt

    async def call(
        self,
        index: int,
        tool: str,
        arguments: dict[str, Any],
        *,
        attempt: int = 1,
        settle: bool = True,
        make: bool = True,
    ) -> str | None:
        """A call of a tool as the gateway makes it; its key, or None if it was refused. Without `settle` nobody hears of
        its end, without `make` it never happens."""
        key = StepKey(self.id, (await self.row()).lineage, index)
        self._calls += 1
        idempotency_key = f"{self.id.hex[-12:]}-{key.lineage}-{index}-{self._calls}"
        nature = self.world.tools.nature(tool, arguments)
        assert nature is not None
        effect = NewEffect(idempotency_key, tool, arguments, nature.reversible, nature.inverse)
        if not await begin_effect(self.world.database, self.world.tenant, key, attempt, effect):
            return None
        result = await self.world.tools.run(tool, arguments, idempotency_key) if make else None
        if settle:
            await self.settle(idempotency_key, "done", result)
        return idempotency_key

    async def settle(self, key: str, status: str, result: Any = None) -> None:
        async with self.world.database.transaction(self.world.tenant) as session:
            await EffectRepository(session, self.world.tenant).settle(self.id, key, status, result=result)

    async def ask_model(self, index: int, *, tokens: int) -> None:
        """A journaled call of a model."""
        lineage = (await self.row()).lineage
        async with self.world.database.transaction(self.world.tenant) as session:
            entry = JournalEntry(
                execution_id=self.id,
                lineage=lineage,
                step_index=index,
                request_hash=new_id().hex,
                occurrence=0,
                tenant_id=self.world.tenant,
                kind="model",
                name="m",
                endpoint="chat",
                attempt=1,
                content_type="application/json",
                answer=b"",
                input_tokens=tokens,
                cost=tokens * 10,
            )
            await JournalRepository(session, self.world.tenant).write(entry)

    async def end(
        self, index: int, name: str = "step", *, attempt: int = 1, next_step: str | None = "next", branch: str = ""
    ) -> UUID | None:
        """Records a step; the id of its checkpoint, or None if the attempt was stale."""
        lineage = (await self.row()).lineage
        blob = await self.world.values.put(str(self.world.tenant), self.state(index, branch))
        recorded = await record_completed_step(
            self.world.database,
            CompletedStep(
                tenant_id=self.world.tenant,
                execution_id=self.id,
                lineage=lineage,
                step_index=index,
                step_name=name,
                attempt=attempt,
                checkpoint_name=None,
                checkpoint_label=name,
                blob=blob.key,
                size=blob.size,
                unit=None,
                usage={},
                next_step=next_step,
                outputs=None if next_step else {"answer": f"of step {index}"},
                outputs_blob=None,
                branch=branch,
            ),
        )
        return recorded.checkpoint_id

    async def step(self, index: int, *calls: tuple[str, dict[str, Any]], **fields: Any) -> UUID:
        """A whole step with these calls; the id of its checkpoint."""
        name = fields.pop("name", f"step {index}")
        attempt = await self.begin(index, name, branch=fields.get("branch", ""))
        for tool, arguments in calls:
            await self.call(index, tool, arguments, attempt=attempt)
        checkpoint = await self.end(index, name, attempt=attempt, **fields)
        assert checkpoint is not None
        return checkpoint

    async def go_on(self) -> None:
        """As after a resume."""
        async with self.world.database.transaction(self.world.tenant) as session:
            execution = await session.get_one(Execution, self.id)
            execution.status = "running"
            session.add(execution)

    async def ask_person(self, index: int, *, status: str = "pending") -> UUID:
        approval = Approval(
            tenant_id=self.world.tenant,
            execution_id=self.id,
            lineage=(await self.row()).lineage,
            step_index=index,
            step_name=f"step {index}",
            interrupt_id=f"i{index}",
            title="May I?",
            status=status,
        )
        await self.world.write(approval)
        return approval.id

    @staticmethod
    def state(index: int, branch: str = "") -> dict[str, Any]:
        inner: dict[str, Any] = {
            "format": 1,
            "inputs": {"topic": "tea"},
            "values": {"topic": "tea", "draft": f"draft {index}", "score": index},
            "next": ["write"],
        }
        if not branch:
            return inner
        return {"node": branch, "framework": "langgraph", "inputs": {}, "state": inner, "outputs": None, "result": None}

    # Rollbacks

    def wish(self, checkpoint: Any, command: str = "c1", **fields: Any) -> RollbackInput:
        return RollbackInput(
            tenant_id=str(self.world.tenant),
            execution_id=str(self.id),
            version_id="",
            framework=fields.pop("framework", "langgraph"),
            command_id=command,
            checkpoint=str(checkpoint),
            from_lineage=fields.pop("from_lineage", 0),
            **fields,
        )

    async def roll_back(self, checkpoint: Any, command: str = "c1", **fields: Any) -> RollbackOutcome:
        fields.setdefault("from_lineage", (await self.row()).lineage)
        return await self.world.activities().carry_out(self.wish(checkpoint, command, **fields))

    async def wait_for_rollback(self) -> None:
        """Returns when one has begun."""
        while not await self.rollbacks():
            pass

    async def plan(self, checkpoint: Any) -> RollbackPlan:
        async with self.world.database.transaction(self.world.tenant) as session:
            return await plan_rollback(session, self.world.tenant, self.id, str(checkpoint))

    async def position(self) -> Position:
        async with self.world.database.transaction(self.world.tenant) as session:
            return await load_position(session, await session.get_one(Execution, self.id))

    # What is in the tables

    async def row(self) -> Execution:
        async with self.world.database.transaction(self.world.tenant) as session:
            return await session.get_one(Execution, self.id)

    async def rows(self, table: type[Row]) -> list[Row]:
        """The rows of the run, oldest first."""
        query = select(table).where(col(table.execution_id) == self.id)  # type: ignore[attr-defined]
        async with self.world.database.transaction(self.world.tenant) as session:
            rows = (await session.execute(query.order_by(col(table.id)))).scalars().all()  # type: ignore[attr-defined]
        return list(rows)

    async def effects(self) -> dict[str, str]:
        """Statuses by key, in the order of the calls."""
        return {effect.idempotency_key: effect.status for effect in await self.rows(Effect)}

    async def agents(self) -> list[tuple[int, int, str]]:
        """Lineage, index and status of each step."""
        agents = await self.rows(Agent)
        return sorted((agent.lineage, agent.step_index, agent.status) for agent in agents)

    async def all_checkpoints(self) -> list[Checkpoint]:
        return [row for row in await self.rows(Checkpoint) if row.deleted_at is None]

    async def checkpoints(self, lineage: int) -> list[Checkpoint]:
        return [row for row in await self.rows(Checkpoint) if row.lineage == lineage and row.deleted_at is None]

    async def events(self) -> list[str]:
        return [event.event_type for event in await self.rows(ExecutionEvent)]

    async def rollbacks(self) -> list[Rollback]:
        return await self.rows(Rollback)

    async def lineages(self) -> list[Lineage]:
        async with self.world.database.transaction(self.world.tenant) as session:
            return list(await LineageRepository(session, self.world.tenant).rows(self.id))

    async def state_of(self, checkpoint: Checkpoint) -> Any:
        return await self.world.values.get(str(self.world.tenant), checkpoint.checksum)
