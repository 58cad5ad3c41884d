"""The rows of the lineage that a rollback begins, and the execution that moves to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.sources import Continuation, Source, is_end
from activities.stores.values import Stored
from models.tables import Agent, Checkpoint, Execution, Lineage, Rollback
from models.tables.base import now


def left_behind(execution: Execution) -> dict[str, Any]:
    """What the lineage had that is left, for whoever comes back to it."""
    kept: dict[str, Any] = {"inputs": {"inline": execution.inputs, "blob": execution.inputs_blob}}
    if execution.status == "completed":
        kept["outputs"] = {"inline": execution.outputs, "blob": execution.outputs_blob}
    return kept


def add_lineage(db: AsyncSession, rollback: Rollback, source: Source, to: Continuation) -> None:
    """Where the lineage branched off, and the definition that holds in it."""
    db.add(
        Lineage(
            execution_id=rollback.execution_id,
            lineage=rollback.to_lineage,
            tenant_id=rollback.tenant_id,
            parent_lineage=source.target.lineage,
            parent_number=source.target.number,
            checkpoint_id=rollback.to_checkpoint_id,
            rollback_id=rollback.id,
            definition_blob=to.definition_blob,
            reason=rollback.trigger_reason,
        )
    )


def add_planned_steps(
    db: AsyncSession, execution: Execution, lineage: int, bases: list[Checkpoint], agents: Sequence[Agent]
) -> None:
    """The rows of the steps that are to come, where they are known in advance."""
    if not execution.planned_steps or execution.flow or not bases:
        return
    names = {agent.step_index: agent for agent in agents if agent.step_index < execution.planned_steps}
    for index in range(bases[0].step_index + 1, execution.planned_steps):
        if index in names:
            db.add(
                Agent(
                    tenant_id=execution.tenant_id,
                    execution_id=execution.id,
                    lineage=lineage,
                    step_index=index,
                    name=names[index].name,
                    framework=names[index].framework,
                )
            )


def move(execution: Execution, rollback: Rollback, source: Source, to: Continuation, *, resume: bool) -> None:
    """Lets the execution stand at the beginning of the lineage. From the end of a run, nothing is left to be resumed."""
    ended = is_end(execution, source.rows) and not execution.flow
    outputs = source.outputs or Stored()
    execution.lineage = rollback.to_lineage
    execution.checkpoint_count = execution.steps_done = source.target.number
    execution.current_checkpoint = source.target.name
    execution.status = "rolled_back" if not resume else "completed" if ended else "running"
    execution.completed_at = now() if execution.status == "completed" else None
    execution.reason, execution.paused_at, execution.error_message = None, None, None
    execution.inputs, execution.inputs_blob = to.inputs.inline, to.inputs.blob
    execution.outputs, execution.outputs_blob = outputs.inline, outputs.blob
    execution.updated_at = now()
