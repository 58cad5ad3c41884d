"""The call journal, as the gateway uses it, and the usage that is derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import zstandard
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from models.database import Database
from models.repositories.base import Repository
from models.tables import JournalEntry

# Every call pays for this. Row security shows the tenant's own prices and those for all.
_LOOK_UP = """
SELECT coalesce((SELECT max(number) FROM prices), 0) AS newest_price, a.attempt, a.name AS step_name,
       j.answer, j.content_type, j.name, j.input_tokens, j.output_tokens, j.cost
FROM (SELECT) AS one
LEFT JOIN agents a ON a.tenant_id = $1 AND a.execution_id = $2 AND a.lineage = $3 AND a.step_index = $4
LEFT JOIN call_journal j ON j.tenant_id = $1 AND j.execution_id = $2 AND j.lineage = $3 AND j.step_index = $4
    AND j.request_hash = $5 AND j.occurrence = $6
"""
_USE = text("""
UPDATE call_journal SET used_by = CAST(:attempt AS int)
FROM unnest(CAST(:hashes AS text[]), CAST(:occurrences AS int[])) AS used (request_hash, occurrence)
WHERE tenant_id = CAST(:tenant AS uuid) AND execution_id = CAST(:execution AS uuid)
  AND lineage = CAST(:lineage AS int) AND step_index = CAST(:step AS int) AND used_by < CAST(:attempt AS int)
  AND call_journal.request_hash = used.request_hash AND call_journal.occurrence = used.occurrence
""")

_VOTE = text("""
UPDATE call_journal SET used_by = 0
FROM unnest(CAST(:hashes AS text[]), CAST(:occurrences AS int[])) AS used (request_hash, occurrence)
WHERE tenant_id = CAST(:tenant AS uuid) AND execution_id = CAST(:execution AS uuid)
  AND lineage = CAST(:lineage AS int) AND step_index = CAST(:step AS int)
  AND call_journal.request_hash = used.request_hash AND call_journal.occurrence = used.occurrence
""")

#: Charges of a run and of none of its steps have neither lineage nor step. A run from before there was a ledger has no charges
#: at all, and cost what the journal says.
_USAGE = text("""
SELECT execution_id, lineage, step_index, sum(model_calls), sum(tool_calls), sum(tokens), sum(cost) FROM (
    SELECT execution_id, lineage, step_index, (kind = 'model')::int AS model_calls,
           (kind <> 'model')::int AS tool_calls, CAST(input_tokens AS bigint) + output_tokens AS tokens,
           CASE WHEN execution_id IN (
               SELECT l.execution_id FROM ledger_entries l
               WHERE l.tenant_id = :tenant AND l.execution_id = ANY(:executions) AND l.kind = 'settle'
           ) THEN 0 ELSE cost END AS cost
    FROM call_journal WHERE tenant_id = :tenant AND execution_id = ANY(:executions)
    UNION ALL
    SELECT execution_id, coalesce(lineage, -1), coalesce(step_index, -1), 0, 0, 0, spent
    FROM ledger_entries WHERE tenant_id = :tenant AND execution_id = ANY(:executions) AND kind = 'settle'
) AS called
GROUP BY execution_id, lineage, step_index
""")


@dataclass(frozen=True)
class StepKey:
    """A step of an execution, as the journal and the fence name it."""

    execution_id: UUID
    lineage: int
    step_index: int


@dataclass(frozen=True)
class StepUsage:
    """What the calls of one step came to; `cost` in millionths of a credit."""

    lineage: int
    step_index: int
    model_calls: int
    tool_calls: int
    tokens: int
    cost: int


@dataclass(frozen=True)
class Known:
    """What is known before a call: the step's newest `attempt` (the fence) and its name, the number of the newest price that
    concerns the tenant, and the `answer` if the call was made before."""

    attempt: int
    step_name: str
    newest_price: int
    answer: JournaledAnswer | None


@dataclass(frozen=True)
class JournaledAnswer:
    """An answer as it was given (`body`), to what `name` says, with what it took."""

    body: bytes
    content_type: str
    name: str
    input_tokens: int
    output_tokens: int
    cost: int


async def look_up(
    database: Database, tenant_id: UUID, step: StepKey, request_hash: str, occurrence: int, *, patience: float = 60.0
) -> Known:
    """The journaled answer to a call, and what decides whether it may be made, in one round trip."""
    cipher = await database.cipher(tenant_id, patience=patience)
    values = (tenant_id, step.execution_id, step.lineage, step.step_index, request_hash, occurrence)
    row = await database.patient_row(tenant_id, _LOOK_UP, *values, patience=patience)
    answer = None
    if row["answer"] is not None:
        body = zstandard.decompress(cipher.open(row["answer"]))
        given = (row[name] for name in ("content_type", "name", "input_tokens", "output_tokens", "cost"))
        answer = JournaledAnswer(body, *given)
    return Known(row["attempt"] or 0, row["step_name"] or "", row["newest_price"], answer)


class JournalRepository(Repository):
    async def mark_used(self, step: StepKey, attempt: int, calls: Iterable[tuple[str, int]]) -> None:
        """Writes down that an attempt used these answers (hash of the request, occurrence), whoever had asked for them."""
        await self.session.execute(_USE, {**self._calls(step, calls), "attempt": attempt})

    async def mark_votes(self, step: StepKey, calls: Iterable[tuple[str, int]]) -> None:
        """Writes down that these answers were votes on a step, which no attempt of it asks for: `used_by` is 0."""
        await self.session.execute(_VOTE, self._calls(step, calls))

    async def write(self, entry: JournalEntry) -> None:
        """Writes an answer; the first one stays, so a repeated write changes nothing."""
        await self.session.execute(insert(JournalEntry).values(entry.model_dump()).on_conflict_do_nothing())

    async def usage(self, execution_ids: Sequence[UUID]) -> dict[UUID, list[StepUsage]]:
        """What was used, per execution and step: calls as they were journaled, costs as they were charged."""
        if not execution_ids:
            return {}
        found: dict[UUID, list[StepUsage]] = {}
        values = {"tenant": self.tenant_id, "executions": list(execution_ids)}
        for row in (await self.session.execute(_USAGE, values)).all():
            # sums of bigints arrive as decimals
            found.setdefault(row[0], []).append(StepUsage(*(int(number) for number in row[1:])))
        return found

    def _calls(self, step: StepKey, calls: Iterable[tuple[str, int]]) -> dict[str, Any]:
        listed = list(calls)
        return {
            "tenant": self.tenant_id,
            "execution": step.execution_id,
            "lineage": step.lineage,
            "step": step.step_index,
            "hashes": [request_hash for request_hash, _ in listed],
            "occurrences": [occurrence for _, occurrence in listed],
        }
