"""Makes the rows of an execution that begins: what a request and a schedule that fires have in common."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.adapters.registry import definition_for
from activities.contracts.reading import bare
from activities.policies import PolicyRow, resolve
from activities.schemas import fit_problems
from activities.stores.values import ValueStore
from models.repositories.budgets import BudgetRepository, period_start
from models.repositories.executions import ExecutionRepository
from models.repositories.policies import PolicyRepository
from models.repositories.starts import Paying, refusal_of, refuse
from models.repositories.workflows import WorkflowRepository
from models.tables import Agent, Budget, Execution, WorkflowVersion
from omium_core.errors import InvalidInput, Problem, WorkflowNotActive


async def make_execution(
    session: AsyncSession,
    values: ValueStore,
    tenant_id: UUID,
    *,
    workflow_id: UUID,
    inputs: dict[str, Any],
    metadata: dict[str, Any],
    trigger_type: str,
    triggered_by: UUID | None,
    paying: Paying,
) -> Execution:
    """The rows of a new execution, pending, in the caller's transaction. `inputs` and `metadata` can be stored as they are.

    Raises `WorkflowNotFound`, `WorkflowNotActive`, `InvalidInput` for inputs that do not fit, and `CreditsExhausted` or
    `BudgetExceeded` where there is no money for it.
    """
    refusal = refusal_of(tenant_id, paying, workflow_id=workflow_id)
    workflow, version, refused = await WorkflowRepository(session, tenant_id).current(workflow_id, refusal)
    if not workflow.is_active:
        raise WorkflowNotActive(f"Workflow {workflow.id} is not active.", workflow_id=str(workflow.id))
    check_inputs(version, inputs)
    refuse(refused)
    half = definition_for(version.framework)
    definition = bare(version.workflow_definition, version.framework)
    plan = half.plan(definition, inputs)
    is_flow = version.framework == FLOW.name
    kept = await values.keep(str(tenant_id), inputs)
    policy = await policy_of_run(session, version)
    execution = Execution(
        tenant_id=tenant_id,
        workflow_id=workflow.id,
        version_id=version.id,
        workflow_version=version.version,
        framework=version.framework,
        title=f"{workflow.name} · {version.framework} · v{version.version}",
        trigger_type=trigger_type,
        triggered_by=triggered_by,
        inputs=kept.inline,
        inputs_blob=kept.blob,
        first_step=(version.first_step or plan.steps[0])[:255],
        planned_steps=0 if plan.open_ended else len(plan.steps),
        max_steps=version.workflow_definition.get("max_steps"),
        flow=[asdict(node) for node in FLOW.nodes(definition)] if is_flow else None,
        policy=policy,
        notifies=bool(policy and policy["notify"]),
        api_key_id=paying.api_key_id,
        meta=metadata,
    )
    agents = [
        Agent(
            tenant_id=tenant_id,
            execution_id=execution.id,
            step_index=index,
            name=name[:255],
            framework=version.framework,
        )
        # the branches of a flow count their steps together, in the order in which they begin
        for index, name in enumerate(() if plan.open_ended or is_flow else plan.steps)
    ]
    await ExecutionRepository(session, tenant_id).add(execution, agents)
    await add_budget(session, execution, paying.budget)
    return execution


async def add_budget(session: AsyncSession, execution: Execution, amount: int | None) -> None:
    """The budget of an execution that begins, if it has one of its own."""
    if amount is None:
        return
    budget = Budget(
        tenant_id=execution.tenant_id,
        scope="execution",
        scope_id=execution.id,
        amount=amount,
        period_start=period_start("total").date(),
    )
    await BudgetRepository(session, execution.tenant_id).add(budget)


def check_inputs(version: WorkflowVersion, inputs: dict[str, Any]) -> None:
    """Raises `InvalidInput` with the paths of what a version of a workflow cannot be run with."""
    problems = fit_problems(inputs, version.input_schema, "inputs") if version.input_schema else []
    definition = bare(version.workflow_definition, version.framework)
    problems = problems or [
        Problem(f"inputs.{problem.path}" if problem.path else "inputs", problem.message)
        for problem in definition_for(version.framework).validate_inputs(definition, inputs)
    ]
    if problems:
        raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)


async def policy_of_run(session: AsyncSession, version: WorkflowVersion) -> dict[str, Any] | None:
    """All policies that hold for a run of this version, made one, as `executions.policy` keeps it; None without any.

    Raises `InvalidInput` when one of them cannot be used any more.
    """
    rows = await PolicyRepository(session, version.tenant_id).holding(version.workflow_id)
    definition = version.workflow_definition
    agents = FLOW.agent_policies(definition) if version.framework == FLOW.name else {}
    own = definition.get("policies")
    if not rows and not own and not agents:
        return None
    policy = resolve(
        [
            PolicyRow(str(row.id), row.version, row.policy_type, row.policy_config, row.workflow_id is not None)
            for row in rows
        ],
        own,
        agents,
    )
    return asdict(policy)
