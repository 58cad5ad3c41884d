"""What was spent on what: sums over the charges of the ledger. Amounts are in millionths of a credit.

A sum over many charges is exact: they are integers. Runs from before there was a ledger have no charges; of these the journal
says what their calls came to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.repositories.base import Repository

#: What usage can be grouped by: the key of a group, and the name that goes with it.
GROUPS = {
    "day": ("to_char(l.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')", "NULL"),
    "model": ("CASE WHEN l.usage_type = 'model' THEN l.resource END", "NULL"),
    "tool": ("CASE WHEN l.usage_type = 'tool' THEN l.resource END", "NULL"),
    "workflow": ("l.workflow_id::text", "(SELECT w.name FROM workflows w WHERE w.id::text = g.key)"),
    "api_key": ("l.api_key_id::text", "(SELECT k.name FROM api_keys k WHERE k.id::text = g.key)"),
    "execution": ("l.execution_id::text", "NULL"),
    "agent": ("l.agent", "NULL"),
    "type": ("l.usage_type", "NULL"),
}

_USAGE = """
WITH g AS (
    SELECT {key} AS key, sum(l.spent) AS credits, sum(l.unpaid) AS unpaid,
           count(*) FILTER (WHERE l.usage_type IN ('model', 'tool')) AS calls,
           coalesce(sum(l.input_tokens), 0) AS input_tokens, coalesce(sum(l.cached_tokens), 0) AS cached_tokens,
           coalesce(sum(l.output_tokens), 0) AS output_tokens
    FROM ledger_entries l
    WHERE l.tenant_id = :tenant AND l.kind = 'settle'
      AND l.created_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
      AND l.created_at < coalesce(CAST(:until AS timestamptz), 'infinity')
    GROUP BY 1
)
SELECT g.*, {name} AS name, sum(credits) OVER () AS all_credits, sum(unpaid) OVER () AS all_unpaid,
       sum(calls) OVER () AS all_calls, sum(input_tokens) OVER () AS all_input, sum(cached_tokens) OVER () AS all_cached,
       sum(output_tokens) OVER () AS all_output, count(*) OVER () AS total
FROM g ORDER BY {order} LIMIT :limit OFFSET :offset
"""

#: What a run's calls came to: what was charged, or of a run without charges what the journal says.
_CHARGES = text("""
SELECT l.lineage, l.step_index, l.attempt, l.usage_type, coalesce(l.resource, '') AS resource,
       coalesce(l.agent, '') AS agent, l.spent AS cost, coalesce(l.input_tokens, 0) AS input_tokens,
       coalesce(l.cached_tokens, 0) AS cached_tokens, coalesce(l.output_tokens, 0) AS output_tokens,
       l.request_hash IS NOT NULL AS is_call, j.used_by
FROM ledger_entries l
LEFT JOIN call_journal j ON j.execution_id = l.execution_id AND j.lineage = l.lineage AND j.step_index = l.step_index
    AND j.request_hash = l.request_hash AND j.occurrence = l.occurrence
WHERE l.tenant_id = :tenant AND l.execution_id = :execution AND l.kind = 'settle'
UNION ALL
SELECT j.lineage, j.step_index, j.attempt, j.kind, j.name, '', CASE WHEN charged.any THEN 0 ELSE j.cost END,
       j.input_tokens, 0, j.output_tokens, true, j.used_by
FROM call_journal j, (
    SELECT EXISTS (SELECT FROM ledger_entries WHERE execution_id = :execution AND kind = 'settle') AS any
) AS charged
WHERE j.tenant_id = :tenant AND j.execution_id = :execution AND NOT EXISTS (
    SELECT FROM ledger_entries l
    WHERE l.kind = 'settle' AND l.execution_id = j.execution_id AND l.lineage = j.lineage
      AND l.step_index = j.step_index AND l.request_hash = j.request_hash AND l.occurrence = j.occurrence
)
""")


@dataclass(frozen=True)
class Spent:
    """What was spent on something. `calls` are those of models and tools; cached tokens are among the input."""

    credits: int = 0
    unpaid: int = 0
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class SpentGroup:
    """What was spent on one thing; `key` is None for what has none, as a step fee has no model."""

    key: str | None
    name: str | None
    spent: Spent


class Usage(NamedTuple):
    """A part of the groups, and what all of them come to."""

    groups: Sequence[SpentGroup]
    all: Spent
    total: int


@dataclass(frozen=True)
class CallCharge:
    """A call of a run, or a fee. `used_by` is the newest attempt that used its answer, 0 for a vote on the step; None where
    nobody knows any more."""

    lineage: int | None
    step_index: int | None
    attempt: int | None
    usage_type: str
    resource: str
    agent: str
    cost: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    is_call: bool
    used_by: int | None


class SpendingRepository(Repository):
    async def usage(
        self, group_by: str, since: datetime | None, until: datetime | None, *, limit: int, offset: int
    ) -> Usage:
        """What was spent in a time, by what it was spent on: days in their order, all else the dearest first."""
        key, name = GROUPS[group_by]
        order = "g.key" if group_by == "day" else "credits DESC, g.key NULLS LAST"
        values = {"tenant": self.tenant_id, "since": since, "until": until}
        query = _USAGE.format(key=key, name=name, order=order)
        rows = (await self.session.execute(text(query), {**values, "limit": limit, "offset": offset})).all()
        if not rows and offset:
            # past the last group, of which the sums are still wanted
            first = await self.usage(group_by, since, until, limit=1, offset=0)
            return Usage([], first.all, first.total)
        groups = [SpentGroup(row.key, row.name, _spent(row[1:7])) for row in rows]
        return Usage(groups, _spent(rows[0][8:14]) if rows else Spent(), rows[0].total if rows else 0)

    async def charges(self, execution_id: UUID) -> list[CallCharge]:
        """The calls and fees of a run."""
        values = {"tenant": self.tenant_id, "execution": execution_id}
        return [CallCharge(**row) for row in (await self.session.execute(_CHARGES, values)).mappings()]


def _spent(values: Sequence[Any]) -> Spent:
    # sums of bigints arrive as decimals
    return Spent(*(int(value) for value in values))
