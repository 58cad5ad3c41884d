"""What a run did cost: which of it was useful, and which came to nothing.

Useful is what led to where the run stands: answers that the attempt used which completed a step of the present line. The rest
is wasted: of an attempt whose answers a later one did not ask for again, or of a step that failed and was done anew
(`retried`), of a line that was left (`rolled_back`), of steps that never ended in a run that has (`abandoned`). While a step is
under way, all of it is useful.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence, Set
from typing import Any, TypeVar
from uuid import UUID

from api.auth.principal import Principal
from api.schemas.billing import (
    AgentCosts,
    Amounts,
    CostsView,
    ExecutionBudget,
    ForkCosts,
    ResourceCosts,
    Status,
    StepCosts,
    Wasted,
)
from api.services.budgets import limit_of
from api.wiring import Wiring
from models.repositories.budgets import BudgetRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.history import HistoryRepository
from models.repositories.journal import JournalRepository
from models.repositories.lineages import StepOfLine
from models.repositories.recovery import RecoveryRepository
from models.repositories.spending import CallCharge, SpendingRepository
from models.tables import Agent, Budget, Execution
from models.tables.executions import TERMINAL

K = TypeVar("K", bound=Hashable)

#: A charge and what became of what it paid for.
Judged = tuple[CallCharge, Status]

#: Statuses of a step that led to where the run stands.
DONE = ("completed", "skipped")
_WASTED: tuple[Status, ...] = ("retried", "rolled_back", "abandoned")


class CostService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def show(self, caller: Principal, execution_id: UUID) -> CostsView:
        """Raises `ExecutionNotFound`."""
        tenant = caller.tenant_id
        async with self._process.database.transaction(tenant) as session:
            execution = await ExecutionRepository(session, tenant).get(execution_id)
            history, spending = HistoryRepository(session, tenant), SpendingRepository(session, tenant)
            charges = await spending.charges(execution_id)
            agents = await history.agents(execution_id)
            redone = await RecoveryRepository(session, tenant).redone(execution_id)
            forks = await history.forks(execution_id)
            used = await JournalRepository(session, tenant).usage([fork.id for fork in forks])
            budget = await limit_of(execution, BudgetRepository(session, tenant))
        judged = judge(charges, agents, redone, execution)
        return CostsView(
            execution_id=execution_id,
            status=execution.status,
            credits_used=sum(charge.cost for charge in charges),
            useful=_amounts(charge for charge, status in judged if status not in _WASTED),
            in_progress=_amounts(charge for charge, status in judged if status == "in_progress"),
            wasted=Wasted(
                **_sums(charge for charge, status in judged if status in _WASTED),
                **{name: _amounts(charge for charge, status in judged if status == name) for name in _WASTED},
            ),
            agents=_by_agent(judged, agents),
            steps=_by_step(judged, agents, execution),
            models=_by_resource(judged),
            budget=None if budget is None else _budget(budget),
            forks=[
                ForkCosts(
                    execution_id=fork.id,
                    status=fork.status,
                    credits_used=sum(step.cost for step in used.get(fork.id, [])),
                )
                for fork in forks
            ],
        )


def judge(
    charges: Sequence[CallCharge], agents: Iterable[Agent], redone: Set[StepOfLine], execution: Execution
) -> list[Judged]:
    """What became of what each charge paid for. A rollback marks the steps that it leaves behind, and takes marks back.

    `redone` are steps that failed and were done anew on another line.
    """
    steps = {(agent.lineage, agent.step_index): agent for agent in agents}
    ended = execution.status in TERMINAL - {"rolled_back"}

    def status_of(charge: CallCharge) -> Status:
        if charge.lineage is None or charge.step_index is None:
            return "completed"
        step = steps.get((charge.lineage, charge.step_index))
        if step is not None and step.status in DONE:
            # votes belong to no attempt; when the journal is gone nobody knows who used it: a later attempt asks the same
            # again, as a rule
            return "retried" if charge.used_by and charge.used_by < step.attempt else "completed"
        if charge.lineage != execution.lineage or (step is not None and step.status == "rolled_back"):
            return "retried" if (charge.lineage, charge.step_index) in redone else "rolled_back"
        return "abandoned" if ended else "in_progress"

    return [(charge, status_of(charge)) for charge in charges]


def _by_agent(judged: Sequence[Judged], agents: Iterable[Agent]) -> list[AgentCosts]:
    names = {(agent.lineage, agent.step_index): agent.name for agent in agents}

    def name(charge: CallCharge) -> str:
        return charge.agent or _named(names, charge)

    return [AgentCosts(agent=key, **_split(part)) for key, part in _grouped(judged, name)]


def _by_step(judged: Sequence[Judged], agents: Sequence[Agent], execution: Execution) -> list[StepCosts]:
    steps = {(agent.lineage, agent.step_index): agent for agent in agents}
    found = []
    for (lineage, index), part in _grouped(judged, lambda charge: (charge.lineage, charge.step_index)):
        step = None if lineage is None or index is None else steps.get((lineage, index))
        found.append(
            StepCosts(
                lineage=lineage,
                step_index=index,
                agent=step.name if step is not None else next((charge.agent for charge, _ in part if charge.agent), ""),
                status=None if step is None else step.status,
                current=lineage in (None, execution.lineage) or (step is not None and step.status in DONE),
                attempts=max([step.attempt if step else 0, *(charge.attempt or 0 for charge, _ in part)]),
                **_split(part),
            )
        )
    return sorted(found, key=lambda step: (step.lineage or 0, -1 if step.step_index is None else step.step_index))


def _by_resource(judged: Sequence[Judged]) -> list[ResourceCosts]:
    parts = _grouped(judged, lambda charge: (charge.usage_type, charge.resource))
    return [ResourceCosts(usage_type=kind, model=name, **_split(part)) for (kind, name), part in parts]


def _named(names: dict[StepOfLine, str], charge: CallCharge) -> str:
    if charge.lineage is None or charge.step_index is None:
        return ""
    return names.get((charge.lineage, charge.step_index), "")


def _grouped(judged: Iterable[Judged], key: Callable[[CallCharge], K]) -> list[tuple[K, list[Judged]]]:
    """By what is asked of a charge, the dearest first."""
    found: dict[K, list[Judged]] = {}
    for each in judged:
        found.setdefault(key(each[0]), []).append(each)
    return sorted(found.items(), key=lambda item: -sum(charge.cost for charge, _ in item[1]))


def _split(part: Sequence[Judged]) -> dict[str, Any]:
    wasted = sum(charge.cost for charge, status in part if status in _WASTED)
    sums = _sums(charge for charge, _ in part)
    return {**sums, "useful": sums["credits"] - wasted, "wasted": wasted}


def _amounts(charges: Iterable[CallCharge]) -> Amounts:
    return Amounts(**_sums(charges))


def _sums(charges: Iterable[CallCharge]) -> dict[str, int]:
    given = list(charges)
    read, written = sum(each.input_tokens for each in given), sum(each.output_tokens for each in given)
    return {
        "credits": sum(each.cost for each in given),
        "calls": sum(each.is_call for each in given),
        "tokens": read + written,
        "input_tokens": read,
        "cached_tokens": sum(each.cached_tokens for each in given),
        "output_tokens": written,
    }


def _budget(budget: Budget) -> ExecutionBudget:
    left = max(0, budget.amount - budget.spent - budget.held)
    return ExecutionBudget(**budget.model_dump(include={"id", "amount", "spent", "held"}), remaining=left)
