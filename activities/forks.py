"""Forks: a new execution that goes on from a checkpoint of another one, which stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import Edit, Json, JsonObject
from activities.adapters.registry import definition_for
from activities.contracts.reading import bare
from activities.sources import Continuation, Source, base_rows, check_inputs, continue_from, is_end, read_source
from activities.stores.values import Stored, ValueStore
from models.repositories.effects import EffectRepository, lost_on
from models.repositories.executions import ExecutionRepository
from models.repositories.lineages import LineageRepository
from models.repositories.targets import Target, TargetRepository
from models.tables import Agent, Checkpoint, Effect, Execution, ExecutionEvent, Lineage
from models.tables.base import now


@dataclass(frozen=True)
class Fork:
    """A new execution: `pending`, to be launched; or `completed` at once, when nothing is left to do from its checkpoint.

    `lost` are effects that its state believes in and that were undone.
    """

    execution: Execution
    lost: list[Effect]


@dataclass(frozen=True)
class By:
    """Who forks, and what they say of the new execution; without `meta` it has that of the original."""

    trigger_type: str = "api"
    user_id: UUID | None = None
    api_key_id: UUID | None = None
    meta: dict[str, Any] | None = field(default=None)


async def fork(
    session: AsyncSession,
    values: ValueStore,
    source: Execution,
    checkpoint: Checkpoint | None,
    *,
    edits: Edit,
    by: By | None = None,
) -> Fork:
    """Makes the rows of a new execution. Without a checkpoint it begins at the beginning, where only inputs can be edited.

    Raises `InvalidInput` with paths from the root of the edits. Changes nothing of the original.
    """
    lineages = LineageRepository(session, source.tenant_id)
    target = Target(0, 0, None)
    if checkpoint is not None:
        target = TargetRepository(session, source.tenant_id).of(checkpoint, await lineages.rows(source.id))
    origin = await read_source(session, source, target)
    to = await continue_from(values, origin, edits)
    inputs: JsonObject = await values.read(str(source.tenant_id), to.inputs) or {}
    check_inputs(origin, to.definition, inputs)
    execution = _execution(origin, to, by or By())
    names = _planned_names(source, to, inputs)
    execution.planned_steps = len(names) or source.planned_steps
    rows = base_rows(origin, to, execution_id=execution.id, lineage=0)
    await ExecutionRepository(session, source.tenant_id).add(execution, _planned_steps(execution, rows, names))
    session.add_all(rows)
    if rows or to.definition_blob:
        session.add(_lineage(execution, target, to))
    data: Json = {"forked_from": str(source.id), "checkpoint": target.name, "number": target.number}
    _event(session, execution, "execution.forked", data)
    path = await lineages.path(source.id, target.lineage, target.number)
    effects = await EffectRepository(session, source.tenant_id).of_run(source.id)
    return Fork(execution, lost_on(effects, path))


def _planned_names(source: Execution, to: Continuation, inputs: JsonObject) -> Sequence[str]:
    """The names of all steps, where they are known in advance and come one after the other."""
    if source.flow:
        return ()
    half = definition_for(source.framework)
    plan = half.plan(bare(to.definition, half.name), inputs)
    return () if plan.open_ended else plan.steps


def _execution(origin: Source, to: Continuation, by: By) -> Execution:
    source, target = origin.execution, origin.target
    copied = {"tenant_id", "workflow_id", "version_id", "workflow_version", "framework", "title"}
    copied |= {"first_step", "planned_steps", "max_steps", "flow", "policy", "notifies"}
    ended = is_end(source, origin.rows)
    outputs = origin.outputs or Stored()
    return Execution(
        **source.model_dump(include=copied),
        trigger_type=by.trigger_type,
        triggered_by=by.user_id,
        status="completed" if ended else "pending",
        started_at=now() if ended else None,
        completed_at=now() if ended else None,
        inputs=to.inputs.inline,
        inputs_blob=to.inputs.blob,
        outputs=outputs.inline,
        outputs_blob=outputs.blob,
        checkpoint_count=target.number,
        steps_done=target.number,
        current_checkpoint=target.name if origin.rows else None,
        forked_from=source.id,
        root_id=source.root_id or source.id,
        api_key_id=by.api_key_id,
        forked_from_checkpoint=target.checkpoint.id if target.checkpoint else None,
        meta=source.meta if by.meta is None else by.meta,
    )


def _planned_steps(execution: Execution, rows: Sequence[Checkpoint], names: Sequence[str]) -> list[Agent]:
    first = rows[0].step_index + 1 if rows else 0
    return [
        Agent(
            tenant_id=execution.tenant_id,
            execution_id=execution.id,
            step_index=index,
            name=names[index][:255],
            framework=execution.framework,
        )
        for index in range(first, len(names))
    ]


def _lineage(execution: Execution, target: Target, to: Continuation) -> Lineage:
    return Lineage(
        execution_id=execution.id,
        lineage=0,
        tenant_id=execution.tenant_id,
        parent_lineage=None,
        parent_number=target.number,
        checkpoint_id=target.checkpoint.id if target.checkpoint else None,
        definition_blob=to.definition_blob,
        reason="fork",
    )


def _event(session: AsyncSession, execution: Execution, event_type: str, data: Json) -> None:
    session.add(
        ExecutionEvent(tenant_id=execution.tenant_id, execution_id=execution.id, event_type=event_type, data=data)
    )
