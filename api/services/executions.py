"""Executions: start exactly one per wish, read.

Two systems, one order of writing: the row is committed first, then the workflow is started under an id made from the row's.
If this process dies in between, the reconciler in the workers starts it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.adapters.registry import definition_for
from activities.contracts.reading import bare
from activities.schemas import fit_problems
from activities.stores.values import Stored
from api.auth.principal import Principal
from api.schemas.common import json_problems
from api.schemas.executions import ExecutionDetail, ExecutionSummary
from api.services import idempotency, views
from api.services.launching import launch_now
from api.services.lineage import present_steps
from api.services.policies import policy_of_run
from api.wiring import Wiring
from models.repositories.approvals import ApprovalRepository
from models.repositories.base import Listing, Page
from models.repositories.events import EventRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.history import HistoryRepository
from models.repositories.journal import JournalRepository
from models.repositories.lineages import LineageRepository
from models.repositories.workflows import WorkflowRepository
from models.tables import Agent, Execution, ExecutionEvent
from omium_core.errors import InvalidInput, Problem, WorkflowNotActive

STARTED = Counter("omium_executions_total", "Executions started", ["framework"])


@dataclass(frozen=True)
class Wish:
    """What a caller wants to have run."""

    workflow_id: UUID
    inputs: dict[str, Any]
    metadata: dict[str, Any]
    trigger_type: str = "api"
    idempotency_key: str | None = None

    def hash(self) -> str:
        """Equal for equal wishes, whichever door they came through."""
        return idempotency.request_hash(self.workflow_id, self.inputs, self.metadata)


class ExecutionService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def start(self, caller: Principal, wish: Wish) -> Execution:
        """The execution of a wish: a new one, or the one that the same Idempotency-Key already started."""
        problems = json_problems(wish.inputs, "inputs") + json_problems(wish.metadata, "metadata")
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        key = wish.idempotency_key
        try:
            async with self._process.database.transaction(caller.tenant_id) as session:
                earlier = await self._earlier(session, caller, key, wish.hash())
                if earlier is not None:
                    return earlier
                execution = await self._make(session, caller, wish)
                await idempotency.claim(session, caller, key, wish.hash(), execution.id)
        except idempotency.KeyTaken:
            # another request with this key committed while we were making ours, which is rolled back
            async with self._process.database.transaction(caller.tenant_id) as session:
                earlier = await self._earlier(session, caller, key, wish.hash())
            if earlier is None:
                raise
            return earlier
        STARTED.labels(execution.framework).inc()
        await launch_now(self._process, execution)
        return execution

    async def get(self, caller: Principal, execution_id: UUID) -> ExecutionDetail:
        async with self._process.database.transaction(caller.tenant_id) as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            agents = await HistoryRepository(session, caller.tenant_id).agents(execution_id)
            agents = await present_steps(agents, LineageRepository(session, caller.tenant_id), execution)
            usage = await JournalRepository(session, caller.tenant_id).usage([execution_id])
            approvals = await ApprovalRepository(session, caller.tenant_id).pending(execution_id)
        tenant = str(caller.tenant_id)
        inputs = await self._process.values.read(tenant, Stored(execution.inputs, execution.inputs_blob))
        outputs = await self._process.values.read(tenant, Stored(execution.outputs, execution.outputs_blob))
        return views.execution_detail(
            execution, agents, usage.get(execution_id, []), inputs, outputs, approvals, self._process.settings
        )

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

    async def _make(self, session: AsyncSession, caller: Principal, wish: Wish) -> Execution:
        """The rows of a new execution, for inputs that fit."""
        workflow, version = await WorkflowRepository(session, caller.tenant_id).current(wish.workflow_id)
        if not workflow.is_active:
            raise WorkflowNotActive(f"Workflow {workflow.id} is not active.", workflow_id=str(workflow.id))
        half = definition_for(version.framework)
        definition = bare(version.workflow_definition, version.framework)
        problems = fit_problems(wish.inputs, version.input_schema, "inputs") if version.input_schema else []
        problems = problems or [
            Problem(f"inputs.{problem.path}" if problem.path else "inputs", problem.message)
            for problem in half.validate_inputs(definition, wish.inputs)
        ]
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        plan = half.plan(definition, wish.inputs)
        is_flow = version.framework == FLOW.name
        inputs = await self._process.values.keep(str(caller.tenant_id), wish.inputs)
        policy = await policy_of_run(session, version)
        execution = Execution(
            tenant_id=caller.tenant_id,
            workflow_id=workflow.id,
            version_id=version.id,
            workflow_version=version.version,
            framework=version.framework,
            title=f"{workflow.name} · {version.framework} · v{version.version}",
            trigger_type=wish.trigger_type,
            triggered_by=caller.user_id,
            inputs=inputs.inline,
            inputs_blob=inputs.blob,
            first_step=(version.first_step or plan.steps[0])[:255],
            planned_steps=0 if plan.open_ended else len(plan.steps),
            max_steps=version.workflow_definition.get("max_steps"),
            flow=[asdict(node) for node in FLOW.nodes(definition)] if is_flow else None,
            policy=policy,
            notifies=bool(policy and policy["notify"]),
            meta=wish.metadata,
        )
        agents = [
            Agent(
                tenant_id=caller.tenant_id,
                execution_id=execution.id,
                step_index=index,
                name=name[:255],
                framework=version.framework,
            )
            # the branches of a flow count their steps together, in the order in which they begin
            for index, name in enumerate(() if plan.open_ended or is_flow else plan.steps)
        ]
        await ExecutionRepository(session, caller.tenant_id).add(execution, agents)
        return execution
