"""What a run goes on from when it is rolled back or forked: checkpoints, a definition and inputs, with edits applied."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import Edit, JsonObject
from activities.adapters.registry import definition_for
from activities.contracts.reading import bare
from activities.edits import apply_edits
from activities.schemas import fit_problems
from activities.stores.blobs import BlobRef
from activities.stores.values import Stored, ValueStore
from models.repositories.lineages import LineageRepository
from models.repositories.rollbacks import RollbackRepository
from models.repositories.targets import START, Target
from models.repositories.workflows import WorkflowRepository
from models.tables import Checkpoint, Execution
from omium_core.errors import InvalidInput, Problem

#: Makes the state before the first step out of a definition and inputs; only a worker can.
Starter = Callable[[JsonObject, JsonObject], Awaitable[JsonObject]]


@dataclass(frozen=True)
class Source:
    """A point of a run as its rows tell it. `definition` is the version's, `definition_blob` the lineage's edited one.

    `rows` are the last checkpoints of its branches. `inputs` and `outputs` are those of the lineage; outputs only where
    the lineage ended at this point.
    """

    execution: Execution
    target: Target
    rows: list[Checkpoint]
    definition: JsonObject
    definition_blob: str | None
    inputs: Stored
    outputs: Stored | None = None
    input_schema: JsonObject | None = None


@dataclass(frozen=True)
class Continuation:
    """The same after edits: `states` are the blobs of the states by branch."""

    states: dict[str, BlobRef] = field(default_factory=dict)
    definition: JsonObject = field(default_factory=dict)
    definition_blob: str | None = None
    inputs: Stored = field(default_factory=Stored)


async def read_source(session: AsyncSession, execution: Execution, target: Target) -> Source:
    lineages = LineageRepository(session, execution.tenant_id)
    rows = await lineages.position(execution.id, target.lineage, target.number) if target.checkpoint else []
    if target.checkpoint is not None and target.checkpoint.kind == "named":
        rows = [_renamed(row, target.checkpoint) for row in rows]
    lineage = await lineages.get(execution.id, target.lineage)
    version = await WorkflowRepository(session, execution.tenant_id).version_by_id(execution.version_id)
    inputs = Stored(execution.inputs, execution.inputs_blob)
    outputs = Stored(execution.outputs, execution.outputs_blob) if execution.status == "completed" else None
    if target.lineage != execution.lineage:
        left = await RollbackRepository(session, execution.tenant_id).left_behind(execution.id, target.lineage)
        inputs = Stored(left.inputs.inline, left.inputs.blob) if left else inputs
        outputs = Stored(left.outputs.inline, left.outputs.blob) if left and left.outputs else None
    return Source(
        execution=execution,
        target=target,
        rows=rows,
        definition=version.workflow_definition,
        definition_blob=lineage.definition_blob if lineage else None,
        inputs=inputs,
        outputs=outputs if is_end(execution, rows) else None,
        input_schema=version.input_schema,
    )


def is_end(execution: Execution, rows: list[Checkpoint]) -> bool:
    """Whether nothing is left to do from these checkpoints."""
    return bool(rows) and all(row.next_step is None for row in rows) and len(rows) >= len(execution.flow or ())


async def continue_from(
    values: ValueStore, source: Source, edits: Edit, *, start: Starter | None = None
) -> Continuation:
    """Applies edits and stores what they change. Raises `InvalidInput` with paths from the root of the edits.

    At the beginning of a run the state is made by `start`; without one only the inputs can be edited there.
    """
    tenant = str(source.execution.tenant_id)
    definition = await _definition(values, source)
    inputs: JsonObject = await values.read(tenant, source.inputs) or {}
    if not edits and source.rows:
        states = {row.branch: BlobRef(row.checksum, row.state_size_bytes) for row in source.rows}
        return Continuation(states, definition, source.definition_blob, source.inputs)
    states_before = {row.branch: await values.get(tenant, row.checksum) for row in source.rows}
    changed, after = definition, states_before
    if not source.rows and not source.execution.flow:
        changed, after = await _at_the_beginning(source, definition, inputs, edits, start)
    elif edits:
        half = definition_for(source.execution.framework)
        changed, after = apply_edits(half, definition, states_before, edits)
    stored = source.inputs
    if edits.inputs:
        inputs = {**inputs, **edits.inputs}
        check_inputs(source, changed, inputs)
        stored = await values.keep(tenant, inputs)
    return Continuation(
        states={branch: await values.put(tenant, state) for branch, state in after.items()},
        definition=changed,
        # as text, because the order of keys means something to some frameworks
        definition_blob=source.definition_blob
        if changed == definition
        else (await values.put(tenant, json.dumps(changed))).key,
        inputs=stored,
    )


def check_inputs(source: Source, definition: JsonObject, inputs: JsonObject) -> None:
    """Whether a run of this definition could be started with these inputs. Raises `InvalidInput` with paths below `inputs`."""
    half = definition_for(source.execution.framework)
    problems = fit_problems(inputs, source.input_schema, "inputs") if source.input_schema else []
    problems = problems or [
        Problem(f"inputs.{problem.path}" if problem.path else "inputs", problem.message)
        for problem in half.validate_inputs(bare(definition, half.name), inputs)
    ]
    if problems:
        raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)


async def _at_the_beginning(
    source: Source, definition: JsonObject, inputs: JsonObject, edits: Edit, start: Starter | None
) -> tuple[JsonObject, dict[str, JsonObject]]:
    half = definition_for(source.execution.framework)
    if start is not None:
        return apply_edits(half, definition, {"": await start(bare(definition, half.name), inputs)}, edits)
    if replace(edits, inputs={}):
        message = "Only the inputs can be edited before the first step."
        raise InvalidInput(message, [Problem("", message)])
    return definition, {}


async def _definition(values: ValueStore, source: Source) -> JsonObject:
    if source.definition_blob is None:
        return source.definition
    found: JsonObject = json.loads(await values.get(str(source.execution.tenant_id), source.definition_blob))
    return found


def base_rows(source: Source, to: Continuation, *, execution_id: UUID, lineage: int) -> list[Checkpoint]:
    """The checkpoints from which a lineage goes on: those of the source, with the states after the edits."""
    copied = {"branch", "step_index", "checkpoint_number", "checkpoint_name", "next_step", "meta"}
    common: dict[str, Any] = {
        "tenant_id": source.execution.tenant_id,
        "execution_id": execution_id,
        "kind": "base",
        "lineage": lineage,
    }
    rows = []
    for row in source.rows:
        state = to.states[row.branch]
        agent_id = row.agent_id if row.execution_id == execution_id else None
        rows.append(
            Checkpoint(
                **common,
                **row.model_dump(include=copied),
                agent_id=agent_id,
                checksum=state.key,
                state_size_bytes=state.size,
            )
        )
    if not rows and "" in to.states:
        first = to.states[""]
        rows.append(
            Checkpoint(
                **common,
                step_index=-1,
                checkpoint_number=0,
                checkpoint_name=START,
                next_step=source.execution.first_step,
                checksum=first.key,
                state_size_bytes=first.size,
            )
        )
    return rows


def _renamed(row: Checkpoint, named: Checkpoint) -> Checkpoint:
    """The checkpoint of the branch whose state was given a name, as the name has it."""
    if row.branch != named.branch:
        return row
    return Checkpoint(
        **row.model_dump(exclude={"checkpoint_name", "checksum", "state_size_bytes"}),
        checkpoint_name=named.checkpoint_name,
        checksum=named.checksum,
        state_size_bytes=named.state_size_bytes,
    )
