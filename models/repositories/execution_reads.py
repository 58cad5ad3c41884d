"""An execution with everything that its page shows, in one round trip.

This is the read that clients repeat while they wait for a run. Through the mapper it is five statements in a transaction;
here it is one query straight from the driver, and only what it needs is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.database import Database
from models.repositories.journal import StepUsage
from omium_core.errors import ExecutionNotFound

_COLUMNS = (
    *("id", "tenant_id", "workflow_id", "workflow_version", "framework", "status", "reason", "error_message"),
    *("trigger_type", "current_checkpoint", "checkpoint_count", "retry_count", "lineage", "forked_from"),
    *("forked_from_checkpoint", "started_at", "paused_at", "completed_at", "created_at", "steps_done"),
    *("planned_steps", "inputs", "inputs_blob", "outputs", "outputs_blob", "policy", "metadata"),
)

QUERY = f"""
SELECT {", ".join(f"e.{name}" for name in _COLUMNS)},
    ARRAY(
        SELECT ROW(id, name, framework, status, lineage, branch, step_index, attempt, started_at, completed_at, output,
                   error)
        FROM agents WHERE tenant_id = $1 AND execution_id = $2
        ORDER BY lineage, step_index
    ) AS agents,
    ARRAY(
        SELECT ROW(lineage, step_index, sum(model_calls), sum(tool_calls), sum(tokens), sum(cost)) FROM (
            SELECT lineage, step_index, (kind = 'model')::int AS model_calls, (kind <> 'model')::int AS tool_calls,
                   CAST(input_tokens AS bigint) + output_tokens AS tokens,
                   CASE WHEN EXISTS (
                       SELECT FROM ledger_entries WHERE tenant_id = $1 AND execution_id = $2 AND kind = 'settle'
                   ) THEN 0 ELSE cost END AS cost
            FROM call_journal WHERE tenant_id = $1 AND execution_id = $2
            UNION ALL
            SELECT coalesce(lineage, -1), coalesce(step_index, -1), 0, 0, 0, spent
            FROM ledger_entries WHERE tenant_id = $1 AND execution_id = $2 AND kind = 'settle'
        ) AS called
        GROUP BY lineage, step_index
    ) AS usage,
    (
        SELECT count(*) FROM approvals WHERE tenant_id = $1 AND execution_id = $2 AND status = 'pending'
    ) AS pending_approvals,
    CASE WHEN e.status = 'pending' AND e.admitted_at IS NULL THEN (
        SELECT 1 + count(*) FROM executions AS before
        WHERE before.tenant_id = $1 AND before.status = 'pending' AND before.admitted_at IS NULL
          AND (before.queued_at, before.id) < (e.queued_at, e.id)
    ) END AS queue_position
FROM executions AS e WHERE e.tenant_id = $1 AND e.id = $2
"""  # noqa: S608 - made of the names above


@dataclass(frozen=True, slots=True)
class StepRead:
    """A step, opened."""

    id: UUID
    name: str
    framework: str
    status: str
    lineage: int
    branch: str
    step_index: int
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    output: Any
    error: str | None


@dataclass(frozen=True, slots=True)
class ExecutionRead:
    """An execution, opened; the names are those of its row. `agents` are the steps of all its lineages, in order."""

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    workflow_version: int
    framework: str
    status: str
    reason: str | None
    error_message: str | None
    trigger_type: str
    current_checkpoint: str | None
    checkpoint_count: int
    retry_count: int
    lineage: int
    forked_from: UUID | None
    forked_from_checkpoint: UUID | None
    started_at: datetime | None
    paused_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    steps_done: int
    planned_steps: int
    inputs: dict[str, Any] | None
    inputs_blob: str | None
    outputs: Any
    outputs_blob: str | None
    policy: dict[str, Any] | None
    meta: dict[str, Any]
    agents: Sequence[StepRead]
    usage: Sequence[StepUsage]
    pending_approvals: int
    #: From 1, while it waits for its turn.
    queue_position: int | None


async def read_execution(database: Database, tenant_id: UUID, execution_id: UUID) -> ExecutionRead:
    """Raises `ExecutionNotFound`."""
    cipher = await database.keys.cipher(tenant_id)
    row = await database.row(tenant_id, QUERY, tenant_id, execution_id)
    if row is None:
        raise ExecutionNotFound(f"Execution {execution_id} does not exist.", execution_id=str(execution_id))

    def opened(sealed: bytes | None) -> Any:
        return None if sealed is None else cipher.open_json(sealed)

    def text(sealed: bytes | None) -> str | None:
        return None if sealed is None else cipher.open(sealed).decode(errors="replace")

    steps = [StepRead(*[*step[:10], opened(step[10]), text(step[11])]) for step in row["agents"]]
    # sums of bigints arrive as decimals
    usage = [StepUsage(*(int(number) for number in entry)) for entry in row["usage"]]
    columns = list(row[: len(_COLUMNS)])
    columns[_ERROR] = text(columns[_ERROR])
    for place in _JSON:
        columns[place] = opened(columns[place])
    return ExecutionRead(*[*columns, steps, usage, row["pending_approvals"], row["queue_position"]])


_ERROR = _COLUMNS.index("error_message")
_JSON = [_COLUMNS.index(name) for name in ("inputs", "outputs", "policy", "metadata")]
