"""The beginning and the end of a step, as one statement each.

Every step of every run pays for these, so this is the one place where SQL is written out: what is six statements and two
more round trips through the mapper (11 ms of CPU) is one round trip here. Each is atomic because it is one statement. Content
is sealed before it gets there: the database cannot look into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.database import Database
from models.repositories.journal import StepKey
from models.tables.base import new_id, now

#: Names of steps are for people; those of many parallel nodes are cut to what a row holds.
NAME_LENGTH = 255

_OPEN = text("""
WITH execution AS (
    SELECT inputs, inputs_blob, lineage,
           status IN ('completed', 'failed', 'cancelled', 'rolled_back') OR lineage <> CAST(:lineage AS int) AS ended
    FROM executions
    WHERE tenant_id = CAST(:tenant AS uuid) AND id = CAST(:execution AS uuid)
), made AS (
    SELECT id, checkpoint_number, checksum, state_size_bytes, next_step, metadata FROM checkpoints
    WHERE tenant_id = CAST(:tenant AS uuid) AND execution_id = CAST(:execution AS uuid)
      AND lineage = CAST(:lineage AS int) AND step_index = CAST(:step AS int) AND kind = 'step'
), opened AS (
    INSERT INTO agents (id, tenant_id, execution_id, lineage, branch, step_index, name, framework, status, attempt,
                        failures, started_at, created_at)
    SELECT CAST(:id AS uuid), CAST(:tenant AS uuid), CAST(:execution AS uuid), CAST(:lineage AS int),
           CAST(:branch AS text), CAST(:step AS int), CAST(:name AS text), CAST(:framework AS text), 'running', 1, 0,
           CAST(:started AS timestamptz), CAST(:started AS timestamptz)
    FROM execution WHERE NOT ended OR EXISTS (SELECT 1 FROM made)
    ON CONFLICT (execution_id, lineage, step_index) DO UPDATE
    -- whoever comes when the step is done does nothing: the attempt stays the one that did it
    SET attempt = agents.attempt + CASE WHEN EXISTS (SELECT 1 FROM made) THEN 0 ELSE 1 END,
        name = excluded.name,
        status = CASE WHEN EXISTS (SELECT 1 FROM made) THEN 'completed' ELSE 'running' END,
        started_at = coalesce(agents.started_at, excluded.started_at)
    RETURNING attempt
), run AS (
    UPDATE executions
    SET status = 'running',
        started_at = coalesce(started_at, CAST(:started AS timestamptz)),
        updated_at = CAST(:started AS timestamptz)
    WHERE tenant_id = CAST(:tenant AS uuid) AND id = CAST(:execution AS uuid) AND status IN ('pending', 'running')
      AND lineage = CAST(:lineage AS int) AND NOT EXISTS (SELECT 1 FROM made)
), event AS (
    INSERT INTO execution_events (id, tenant_id, execution_id, event_type, data, created_at)
    SELECT CAST(:event AS uuid), CAST(:tenant AS uuid), CAST(:execution AS uuid), 'execution.started',
           CAST(:event_data AS bytea), CAST(:started AS timestamptz)
    FROM opened WHERE opened.attempt = 1 AND CAST(:step AS int) = 0 AND NOT EXISTS (SELECT 1 FROM made)
)
SELECT opened.attempt, execution.inputs, execution.inputs_blob, made.id, made.checkpoint_number, made.checksum,
       made.state_size_bytes, made.next_step, made.metadata
FROM execution
LEFT JOIN opened ON true
LEFT JOIN made ON true
""")

_COMPLETE = text("""
WITH mine AS (
    UPDATE agents
    SET status = 'completed', completed_at = CAST(:ended AS timestamptz), output = CAST(:unit AS bytea), error = NULL
    WHERE tenant_id = CAST(:tenant AS uuid) AND execution_id = CAST(:execution AS uuid)
      AND lineage = CAST(:lineage AS int) AND step_index = CAST(:step AS int) AND attempt = CAST(:attempt AS int)
      AND status = 'running'
    RETURNING id, tenant_id, execution_id, lineage, step_index, framework, started_at
), run AS (
    UPDATE executions
    SET steps_done = checkpoint_count + 1,
        checkpoint_count = checkpoint_count + 1,
        current_checkpoint = CASE WHEN CAST(:named AS bool) THEN CAST(:name AS text)
                                  ELSE 'step_' || (checkpoint_count + 1) || '_' || CAST(:name AS text) END,
        updated_at = CAST(:ended AS timestamptz),
        status = CASE WHEN CAST(:last AS bool) THEN 'completed' ELSE status END,
        reason = CASE WHEN CAST(:last AS bool) THEN NULL ELSE reason END,
        completed_at = CASE WHEN CAST(:last AS bool) THEN CAST(:ended AS timestamptz) END,
        outputs = CAST(:outputs AS bytea),
        outputs_blob = CAST(:outputs_blob AS text),
        error_message = NULL
    FROM mine
    WHERE executions.tenant_id = mine.tenant_id AND executions.id = mine.execution_id
      AND executions.lineage = mine.lineage
    RETURNING checkpoint_count AS number, current_checkpoint AS name, workflow_id
), checkpoint AS (
    INSERT INTO checkpoints (id, tenant_id, execution_id, agent_id, lineage, branch, step_index, checkpoint_number,
                             checkpoint_name, checksum, state_size_bytes, compression_type, next_step, preconditions,
                             postconditions, metadata, created_at)
    SELECT CAST(:checkpoint AS uuid), tenant_id, execution_id, mine.id, lineage, CAST(:branch AS text), step_index,
           run.number, run.name, CAST(:blob AS text), CAST(:size AS bigint), 'zstd', CAST(:next_step AS text),
           CAST(:preconditions AS bytea), CAST(:postconditions AS bytea), CAST(:meta AS bytea),
           CAST(:ended AS timestamptz)
    FROM mine, run
    RETURNING tenant_id, execution_id, checkpoint_number
), following AS (
    INSERT INTO agents (id, tenant_id, execution_id, lineage, step_index, name, framework, status, attempt, failures,
                        started_at, created_at)
    SELECT CAST(:following AS uuid), mine.tenant_id, mine.execution_id, lineage, step_index + 1,
           CAST(:next_step AS text), framework, 'running', 1, 0, CAST(:ended AS timestamptz), CAST(:ended AS timestamptz)
    FROM mine, checkpoint
    WHERE CAST(:next_step AS text) IS NOT NULL AND CAST(:branch AS text) = ''
    ON CONFLICT (execution_id, lineage, step_index) DO UPDATE
    SET status = 'running', attempt = 1, started_at = excluded.started_at, name = excluded.name
    WHERE agents.attempt = 0
    RETURNING id
), events AS (
    INSERT INTO execution_events (id, tenant_id, execution_id, event_type, data, checkpoint_number, created_at)
    SELECT event.id, tenant_id, execution_id, event.type, event.data, checkpoint_number, CAST(:ended AS timestamptz)
    FROM checkpoint, (
        VALUES (CAST(:event AS uuid), 'step.completed', CAST(:event_data AS bytea), true),
               (CAST(:last_event AS uuid), 'execution.completed', CAST(:last_data AS bytea), CAST(:last AS bool))
    ) AS event (id, type, data, happened)
    WHERE event.happened
), mended AS (
    UPDATE failures SET recovery_status = 'resolved', resolved_at = CAST(:ended AS timestamptz)
    FROM checkpoint
    WHERE CAST(:last AS bool) AND failures.tenant_id = checkpoint.tenant_id
      AND failures.execution_id = checkpoint.execution_id AND recovery_status <> 'resolved'
), used AS (
    -- what the step took in all its attempts
    SELECT mine.*, run.workflow_id, calls.*
    FROM mine
    CROSS JOIN run
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE kind = 'model') AS llm_calls, count(*) FILTER (WHERE kind = 'tool') AS tool_calls,
               coalesce(sum(input_tokens::bigint + output_tokens), 0)::bigint AS tokens,
               coalesce(sum(cost), 0)::bigint AS cost,
               mode() WITHIN GROUP (ORDER BY name) FILTER (WHERE kind = 'model') AS model
        FROM call_journal j
        WHERE j.execution_id = mine.execution_id AND j.lineage = mine.lineage AND j.step_index = mine.step_index
    ) AS calls
), measured AS (
    INSERT INTO agent_metrics (id, tenant_id, agent_id, execution_id, workflow_id, framework, status, duration_ms,
                               wait_time_ms, llm_provider, llm_model, llm_calls, tokens_used, cost_micro, tool_calls,
                               tool_failures, checkpoint_bytes, checkpoint_overhead_us, measured_at)
    SELECT CAST(:metrics AS uuid), tenant_id, id, execution_id, workflow_id, framework, 'completed',
           duration_ms(started_at, CAST(:ended AS timestamptz)),
           CASE WHEN CAST(:waited AS bool) THEN (
               SELECT sum(duration_ms(a.created_at, a.answered_at)) FROM approvals a
               WHERE a.execution_id = used.execution_id AND a.lineage = used.lineage AND a.step_index = used.step_index
           ) END,
           provider_of(model), model, llm_calls, tokens, cost, tool_calls, CAST(:tool_failures AS int),
           CAST(:size AS bigint), CAST(:overhead AS bigint), CAST(:ended AS timestamptz)
    FROM used
    -- a run that failed at this step, and was retried
    ON CONFLICT (agent_id) DO UPDATE
    SET status = excluded.status, duration_ms = excluded.duration_ms, wait_time_ms = excluded.wait_time_ms,
        llm_provider = excluded.llm_provider, llm_model = excluded.llm_model, llm_calls = excluded.llm_calls,
        tokens_used = excluded.tokens_used, cost_micro = excluded.cost_micro, tool_calls = excluded.tool_calls,
        tool_failures = excluded.tool_failures, checkpoint_bytes = excluded.checkpoint_bytes,
        checkpoint_overhead_us = excluded.checkpoint_overhead_us, measured_at = excluded.measured_at
)
SELECT (SELECT checkpoint_number FROM checkpoint) AS number, (SELECT count(*) FROM following) AS prepared,
       (SELECT credit_step_fee(tenant_id, execution_id, CAST(:lineage AS int), CAST(:step AS int), CAST(:attempt AS int),
                               CAST(:step_name AS text), CAST(:ended AS timestamptz))
        FROM checkpoint WHERE EXISTS (SELECT FROM prices WHERE kind = 'step')) AS fee
""")


@dataclass(frozen=True)
class MadeBefore:
    """The checkpoint that an earlier attempt of a step left behind."""

    id: UUID
    number: int
    blob: str
    size: int
    next_step: str | None
    usage: dict[str, Any]


@dataclass(frozen=True)
class OpenedAttempt:
    """A new attempt of a step: `attempt` is its fence, or None if the run has ended and nothing may act for it. Where the step's
    checkpoint is `made` already, it is the attempt that made it.

    `inputs` are the run's, in the row or under their blob.
    """

    attempt: int | None
    inputs: dict[str, Any] | None
    inputs_blob: str | None
    made: MadeBefore | None


async def open_attempt(
    database: Database, tenant_id: UUID, step: StepKey, *, name: str, framework: str, branch: str = ""
) -> OpenedAttempt:
    """Counts a new attempt, which fences off the ones before, and marks the run as running; of a step that is done, none."""
    cipher = await database.cipher(tenant_id)
    row = await database.statement(
        tenant_id,
        _OPEN,
        {
            "tenant": tenant_id,
            "execution": step.execution_id,
            "lineage": step.lineage,
            "step": step.step_index,
            "id": new_id(),
            "name": name[:NAME_LENGTH],
            "branch": branch,
            "framework": framework,
            "started": now(),
            "event": new_id(),
            "event_data": cipher.seal_json({"framework": framework}),
        },
    )
    made = None
    if row.id is not None:
        usage = cipher.open_json(row.metadata)
        made = MadeBefore(row.id, row.checkpoint_number, row.checksum, row.state_size_bytes, row.next_step, usage)
    inputs = None if row.inputs is None else cipher.open_json(row.inputs)
    return OpenedAttempt(row.attempt, inputs, row.inputs_blob, made)


@dataclass(frozen=True)
class CompletedStep:
    """A step that is done. `next_step` is None at the end of the run, or of its `branch`.

    With the end of a run without branches come its `outputs` (or their blob). A checkpoint that the definition does not
    name is called `step_<number>_<label>`; the number is given by the database.
    """

    tenant_id: UUID
    execution_id: UUID
    lineage: int
    step_index: int
    step_name: str
    attempt: int
    checkpoint_name: str | None
    checkpoint_label: str
    blob: str
    size: int
    unit: Any
    #: As timelines and checkpoints tell it: calls, tokens, and `credits` with up to six decimals.
    usage: dict[str, int | float]
    next_step: str | None
    outputs: Any
    outputs_blob: str | None
    branch: str = ""
    units: tuple[str, ...] = ()
    preconditions: list[Any] | None = None
    postconditions: list[Any] | None = None
    #: What it took to store the state, in microseconds; calls of tools that failed; whether the step waited for people.
    overhead_us: int | None = None
    tool_failures: int | None = None
    waited: bool = False


@dataclass(frozen=True)
class Recorded:
    """What became of it: the checkpoint's id and number, or None and 0 if it was not made (stale attempt, or made before)."""

    checkpoint_id: UUID | None
    number: int
    prepared: bool


async def record_completed_step(database: Database, done: CompletedStep) -> Recorded:
    """Checkpoint, step, next step, events, metrics and execution: all or nothing, and only for the attempt that is current."""
    checkpoint_id = new_id()
    ended: datetime = now()
    cipher = await database.cipher(done.tenant_id)

    def sealed(value: Any) -> bytes | None:
        return None if value is None else cipher.seal_json(value)

    row = await database.statement(
        done.tenant_id,
        _COMPLETE,
        {
            "tenant": done.tenant_id,
            "execution": done.execution_id,
            "lineage": done.lineage,
            "step": done.step_index,
            "step_name": done.step_name[:NAME_LENGTH],
            "attempt": done.attempt,
            "ended": ended,
            "unit": sealed(done.unit),
            "checkpoint": checkpoint_id,
            "name": done.checkpoint_name or done.checkpoint_label,
            "named": done.checkpoint_name is not None,
            "branch": done.branch,
            "last": done.next_step is None and not done.branch,
            "preconditions": sealed(done.preconditions),
            "postconditions": sealed(done.postconditions),
            "blob": done.blob,
            "size": done.size,
            "next_step": None if done.next_step is None else done.next_step[:NAME_LENGTH],
            # what its last step took would read as what the run did
            "last_data": sealed({}),
            # who ran is told to a handoff after it
            "meta": sealed({**done.usage, "units": list(done.units)} if done.units else done.usage),
            "following": new_id(),
            "event": new_id(),
            "last_event": new_id(),
            "event_data": sealed({"step": done.step_index, "name": done.step_name, **done.usage}),
            "outputs": sealed(done.outputs),
            "outputs_blob": done.outputs_blob,
            "metrics": new_id(),
            "overhead": done.overhead_us,
            "tool_failures": done.tool_failures,
            "waited": done.waited,
        },
    )
    made = row.number is not None
    return Recorded(checkpoint_id if made else None, row.number if made else 0, bool(row.prepared))
