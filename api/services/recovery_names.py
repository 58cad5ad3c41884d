"""Whom a recovery means: the id of a step's row, or what failed, becomes the name by which a definition knows it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from uuid import UUID

from activities.adapters.registry import definition_for
from activities.contracts.reading import bare
from activities.edits import ALL
from api.services.recovery_wishes import Wanted
from api.wiring import Wiring
from models.repositories.executions import ExecutionRepository
from models.repositories.workflows import WorkflowRepository
from models.tables import Agent, Execution, Failure

_SEPARATOR = ", "


async def with_names(process: Wiring, failure: Failure, execution: Execution, wanted: Wanted) -> Wanted:
    """The same action for names that the definition has. Raises `AgentNotFound` for an id that is no step of the run."""
    given = {*wanted.action.prompts, *wanted.action.models}
    if not any(name == ALL or _is_id(name) for name in given):
        return wanted
    steps: dict[str, Agent] = {}
    async with process.database.transaction(execution.tenant_id) as session:
        executions = ExecutionRepository(session, execution.tenant_id)
        version = await WorkflowRepository(session, execution.tenant_id).version_by_id(execution.version_id)
        for name in given:
            if _is_id(name):
                steps[name] = await executions.agent(execution.id, UUID(name))
        failed = await executions.find_agent(execution.id, str(failure.agent_id)) if failure.agent_id else None
    if failed is not None and failed.branch:
        # other branches of a flow did not fail
        steps[ALL] = failed
    known = definition_for(execution.framework).unit_names(bare(version.workflow_definition, execution.framework))
    action = wanted.action
    return replace(
        wanted,
        action=replace(
            action,
            prompts={unit: text for name, text in action.prompts.items() for unit in _units(name, steps, known)},
            models={
                unit: model
                for name, model in action.models.items()
                # for all agents, as policies mean it
                for unit in ([name] if name == ALL else _units(name, steps, known))
            },
        ),
    )


def _units(name: str, steps: dict[str, Agent], known: Collection[str]) -> Iterable[str]:
    """The names of what ran in a step; `*`, which is what comes next, where its definition does not tell them."""
    step = steps.get(name)
    if step is None:
        return [name]
    for names in ([step.branch], [step.name], step.name.split(_SEPARATOR)):
        if all(one in known for one in names):
            return names
    return [ALL]


def edited_before(wanted: Wanted, failure: Failure, steps: Iterable[Agent]) -> int | None:
    """Index of the first step to be done again when something is edited that ran before the failed step, and not in it.

    None where the edit is for what failed, or for what comes after it.
    """
    if failure.step_index is None:
        return None
    named = {*wanted.action.prompts, *wanted.action.models} - {ALL}
    ran = {step.step_index: _names_in(step) for step in steps if step.attempt > 0}
    named -= ran.get(failure.step_index, set())
    last = [
        max((index for index, names in ran.items() if index < failure.step_index and name in names), default=None)
        for name in named
    ]
    return min((index for index in last if index is not None), default=None)


def _names_in(step: Agent) -> set[str]:
    """The names of a step's row: its node, its task, its agents, the graph nodes that ran at once."""
    parts = (part.partition(" ×")[0] for part in re.split(r" · | \+ |, ", step.name))
    return {step.branch, step.name, *parts} - {""}


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
