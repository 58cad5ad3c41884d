"""Judges definitions when they arrive, so that no run fails later for a reason that is known now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from temporalio.client import ActivityFailureError
from temporalio.common import RetryPolicy
from temporalio.service import RPCError
from uuid_utils.compat import uuid7

from activities.adapters.registry import definition_for
from activities.contracts.problems import contract_problems
from activities.contracts.reading import READS_SECTIONS, bare
from activities.policies.channels import address_problems
from activities.schemas import schema_problems
from activities.tools.addresses import AddressPolicy
from activities.tools.names import BUILTIN_TOOLS
from api.schemas.common import json_problems
from api.wiring import Wiring
from models.wire import CheckInput, CheckOutcome
from omium_core import temporal
from omium_core.errors import InvalidInput, Problem, WorkerUnavailable

FIELD = "workflow_definition"


@dataclass(frozen=True)
class Judgement:
    """A definition that can run. `first_step` where a worker had to load it to know."""

    warnings: tuple[str, ...]
    first_step: str | None


async def judge(
    process: Wiring,
    tenant_id: UUID,
    framework: str,
    definition: dict[str, Any],
    input_schema: dict[str, Any] | None,
    output_schema: dict[str, Any] | None,
) -> Judgement:
    """Raises `InvalidInput` with all problems, or `WorkerUnavailable` when a worker is needed and none answers."""
    half = definition_for(framework)
    problems = json_problems(definition, FIELD)
    for name, schema in (("input_schema", input_schema), ("output_schema", output_schema)):
        if schema is not None:
            unsafe = json_problems(schema, name)
            problems += unsafe or schema_problems(schema, name)
    if problems:
        raise _invalid(problems)
    own = bare(definition, framework)
    needs_worker = half.needs_worker(own, tools=BUILTIN_TOOLS)
    problems = half.validate(own, tools=None if needs_worker else BUILTIN_TOOLS)
    if framework not in READS_SECTIONS:
        # the names of steps are known only of a definition that is right
        problems += contract_problems(definition, frozenset() if problems else half.unit_names(own), framework)
    if problems:
        raise _invalid([_under_field(problem) for problem in problems])
    notification = (definition.get("policies") or {}).get("notification")
    if notification:
        allowed = AddressPolicy(process.settings.http_allow_private)
        path = f"{FIELD}.policies.notification.channels"
        if private := address_problems(notification.get("channels"), allowed, path):
            raise _invalid(private)
    first_step = None
    if needs_worker:
        first_step = await _ask_worker(process, tenant_id, framework, definition)
    return Judgement(half.plan(own, {}).warnings, first_step)


async def _ask_worker(process: Wiring, tenant_id: UUID, framework: str, definition: dict[str, Any]) -> str:
    """Lets a worker load the definition: does the entry point exist and compile, are the tools registered?"""
    tenant = str(tenant_id)
    # as text, because the order of keys means something to some frameworks, and values are stored with theirs sorted
    blob = await process.values.put(tenant, json.dumps(definition))
    patience = timedelta(seconds=process.settings.worker_check_timeout)
    try:
        outcome: CheckOutcome = await process.temporal.execute_activity(
            "check_definition",
            CheckInput(tenant_id=tenant, framework=framework, blob=blob.key),
            id=f"{tenant}/check/{uuid7()}",
            task_queue=temporal.queue_for(framework),
            result_type=CheckOutcome,
            schedule_to_close_timeout=patience,
            retry_policy=RetryPolicy(maximum_attempts=2),
        )
    except (ActivityFailureError, RPCError, RuntimeError) as error:
        raise WorkerUnavailable(
            f"No {framework} worker could look at the definition within {patience.total_seconds():.0f} s. "
            "It names code or tools that only a worker can judge; try again when a worker is up.",
            framework=framework,
        ) from error
    if outcome.problems:
        raise _invalid([_under_field(Problem(*problem)) for problem in outcome.problems])
    return outcome.first_step


def _under_field(problem: Problem) -> Problem:
    if not problem.path:
        return Problem(FIELD, problem.message)
    return Problem(f"{FIELD}{'' if problem.path.startswith('[') else '.'}{problem.path}", problem.message)


def _invalid(problems: list[Problem]) -> InvalidInput:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidInput(f"{first.path}: {first.message}{more}", problems)
