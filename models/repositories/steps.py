"""The end of a step, as one statement.

Every step of every run pays for this, so it is the one place where SQL is written out: what is six statements and two more
round trips through the mapper (11 ms of CPU) is one round trip here. It is atomic because it is one statement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.database import Database
from models.tables.base import new_id, now

_COMPLETE = text("""
WITH mine AS (
    UPDATE agents
    SET status = 'completed', completed_at = CAST(:ended AS timestamptz), output = CAST(:unit AS jsonb), error = NULL
    WHERE tenant_id = CAST(:tenant AS uuid) AND execution_id = CAST(:execution AS uuid)
      AND lineage = CAST(:lineage AS int) AND step_index = CAST(:step AS int) AND attempt = CAST(:attempt AS int)
    RETURNING tenant_id, execution_id, lineage, step_index, framework
), checkpoint AS (
    INSERT INTO checkpoints (id, tenant_id, execution_id, lineage, step_index, checkpoint_number, checkpoint_name,
                             checksum, state_size_bytes, compression_type, next_step, metadata, created_at)
    SELECT CAST(:checkpoint AS uuid), tenant_id, execution_id, lineage, step_index, CAST(:number AS int),
           CAST(:name AS text), CAST(:blob AS text), CAST(:size AS bigint), 'zstd', CAST(:next_step AS text),
           CAST(:usage AS jsonb), CAST(:ended AS timestamptz)
    FROM mine
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, execution_id
), following AS (
    INSERT INTO agents (id, tenant_id, execution_id, lineage, step_index, name, framework, status, attempt, failures,
                        started_at, created_at)
    SELECT CAST(:following AS uuid), mine.tenant_id, mine.execution_id, lineage, step_index + 1,
           CAST(:next_step AS text), framework, 'running', 1, 0, CAST(:ended AS timestamptz), CAST(:ended AS timestamptz)
    FROM mine, checkpoint
    WHERE CAST(:next_step AS text) IS NOT NULL
    ON CONFLICT (execution_id, lineage, step_index) DO UPDATE
    SET status = 'running', attempt = 1, started_at = excluded.started_at, name = excluded.name
    WHERE agents.attempt = 0
    RETURNING id
), events AS (
    INSERT INTO execution_events (id, tenant_id, execution_id, event_type, data, created_at)
    SELECT event.id, tenant_id, execution_id, event.type, event.data, CAST(:ended AS timestamptz)
    FROM checkpoint, (
        VALUES (CAST(:event AS uuid), 'step.completed', CAST(:event_data AS jsonb), true),
               (CAST(:last_event AS uuid), 'execution.completed', CAST(:usage AS jsonb),
                CAST(:next_step AS text) IS NULL)
    ) AS event (id, type, data, happened)
    WHERE event.happened
), run AS (
    UPDATE executions
    SET steps_done = CAST(:step AS int) + 1,
        checkpoint_count = checkpoint_count + 1,
        current_checkpoint = CAST(:name AS text),
        updated_at = CAST(:ended AS timestamptz),
        status = CASE WHEN CAST(:next_step AS text) IS NULL THEN 'completed' ELSE status END,
        completed_at = CASE WHEN CAST(:next_step AS text) IS NULL THEN CAST(:ended AS timestamptz) END,
        outputs = CAST(:outputs AS jsonb),
        outputs_blob = CAST(:outputs_blob AS text),
        error_message = NULL
    FROM checkpoint
    WHERE executions.tenant_id = checkpoint.tenant_id AND executions.id = checkpoint.execution_id
)
SELECT (SELECT count(*) FROM checkpoint) AS made, (SELECT count(*) FROM following) AS prepared
""")


@dataclass(frozen=True)
class CompletedStep:
    """A step that is done. `next_step` is None at the end of the run; then `outputs` (or their blob) are its result."""

    tenant_id: UUID
    execution_id: UUID
    lineage: int
    step_index: int
    step_name: str
    attempt: int
    checkpoint_number: int
    checkpoint_name: str
    blob: str
    size: int
    unit: Any
    usage: dict[str, int]
    next_step: str | None
    outputs: Any
    outputs_blob: str | None


@dataclass(frozen=True)
class Recorded:
    """What became of it: the checkpoint's id, or None if it was not made (stale attempt, or made before)."""

    checkpoint_id: UUID | None
    prepared: bool


async def record_completed_step(database: Database, done: CompletedStep) -> Recorded:
    """Checkpoint, step, next step, events and execution: all or nothing, and only for the attempt that is current."""
    checkpoint_id = new_id()
    ended: datetime = now()
    row = await database.statement(
        _COMPLETE,
        {
            "tenant": done.tenant_id,
            "execution": done.execution_id,
            "lineage": done.lineage,
            "step": done.step_index,
            "attempt": done.attempt,
            "ended": ended,
            "unit": _json(done.unit),
            "checkpoint": checkpoint_id,
            "number": done.checkpoint_number,
            "name": done.checkpoint_name,
            "blob": done.blob,
            "size": done.size,
            "next_step": done.next_step,
            "usage": json.dumps(done.usage),
            "following": new_id(),
            "event": new_id(),
            "last_event": new_id(),
            "event_data": json.dumps(
                {"step": done.step_index, "name": done.step_name, "checkpoint": done.checkpoint_number, **done.usage}
            ),
            "outputs": _json(done.outputs),
            "outputs_blob": done.outputs_blob,
        },
    )
    return Recorded(checkpoint_id if row.made else None, bool(row.prepared))


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
