"""What analytics tell of a tenant: sums over its runs, steps, credits and requests in a span of time.

Each figure is the sum of the roll-ups of whole days and hours, of the rows that are in no roll-up yet, and of rows at the edges
of the span; so it is the same before, during and after a roll-up. All functions work in a transaction of the tenant that
`begin_reading` has prepared, so that the figures of one answer are of one moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.analytics_span import UNITS, Span

#: By what other than time figures may be grouped: columns of the facts.
RUN_COLUMNS = {"workflow": "workflow_id", "framework": "framework", "model": "llm_model"}
COST_COLUMNS = {"workflow": "workflow_id", "model": "resource", "agent": "agent", "type": "usage_type"}

_EXECUTION_SUMS = (
    *("executions", "timed", "duration_ms", "checkpoints", "checkpoint_bytes", "llm_calls", "tool_calls", "tokens"),
    *("cost_micro", "rollbacks", "failures", "retries"),
)
_STEP_SUMS = (
    *("steps", "failed", "duration_ms", "checkpoints", "checkpoint_bytes", "llm_calls", "tool_calls", "tokens"),
    "cost_micro",
)
#: Asked for by itself: only where it is known beforehand is it seen that few entries come after it.
_MARK = text("SELECT coalesce(max(ledger_number), 0) FROM rollup_marks WHERE tenant_id = :tenant")
_COST_SUMS = ("charges", "input_tokens", "cached_tokens", "output_tokens", "cost_micro")


@dataclass(frozen=True)
class RunFilter:
    """Which runs are wanted; None is no condition."""

    workflow_id: UUID | None = None
    framework: str | None = None
    status: str | None = None

    def conditions(self, *, by_status: bool = True) -> tuple[str, dict[str, Any]]:
        """More conditions of a WHERE, and their parameters. Steps have no status of a run."""
        given = {"workflow_id": self.workflow_id, "framework": self.framework}
        if by_status:
            given["status"] = self.status
        given = {name: value for name, value in given.items() if value is not None}
        return "".join(f" AND {name} = :{name}" for name in given), given


@dataclass(frozen=True)
class Grouped:
    """Sums over all, and by group: rows with a `key` and the names of the sums."""

    total: Row[Any]
    groups: Sequence[Row[Any]]


async def begin_reading(session: AsyncSession) -> None:
    """All that is read in this transaction is of one moment. Before anything else."""
    await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    # compiling takes longer than these queries do; a plan for any period reads the ledger from its beginning; and groups that do
    # not fit into the memory are sorted on disk
    await session.execute(
        text(
            "SELECT set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true), "
            "set_config('work_mem', '32MB', true)"
        )
    )


async def sum_executions(
    session: AsyncSession, tenant_id: UUID, span: Span, wanted: RunFilter, group: str
) -> tuple[Grouped, dict[str, int]]:
    """Runs that were made in the span, and those that failed by the type of their failure."""
    conditions, values = wanted.conditions()
    facts = _facts("execution", (_column(group, RUN_COLUMNS), "status", "failure_type"), _EXECUTION_SUMS, conditions)
    statuses = ", ".join(
        f"coalesce(sum(executions) FILTER (WHERE status = '{status}'), 0)::bigint AS {status}"
        for status in ("pending", "running", "paused", "completed", "failed", "cancelled", "rolled_back")
    )
    # the number of runs is `executions`; `failed` and `failures` are not the same
    query = text(f"""
        WITH pieces AS ({PIECES}), facts AS ({facts}), keyed AS (SELECT *, {_key(group, RUN_COLUMNS)} AS key FROM facts)
        SELECT GROUPING(key) AS over_keys, GROUPING(failure_type) AS over_types, key, failure_type,
               {_sums(_EXECUTION_SUMS)}, {statuses}
        FROM keyed GROUP BY GROUPING SETS ((), (key), (failure_type)) ORDER BY key
    """)  # noqa: S608 - made of our own names
    totals = wanted.workflow_id is None and wanted.framework is None
    parameters = {**_span(span, group, totals=totals), **values, "tenant": tenant_id}
    rows = (await session.execute(query, parameters)).all()
    total = next(row for row in rows if row.over_keys and row.over_types)
    groups = [row for row in rows if not row.over_keys and row.executions]
    by_type = {row.failure_type: row.failed for row in rows if not row.over_types and row.failed}
    return Grouped(total, groups), dict(sorted(by_type.items(), key=lambda item: (-item[1], item[0])))


async def sum_steps(session: AsyncSession, tenant_id: UUID, span: Span, wanted: RunFilter, group: str) -> Grouped:
    """Steps that ended in the span, and what they used."""
    conditions, values = wanted.conditions(by_status=False)
    facts = _facts("step", (_column(group, RUN_COLUMNS),), _STEP_SUMS, conditions)
    parameters = {**_span(span, group, totals=not values), **values, "tenant": tenant_id}
    return await _grouped(session, facts, _STEP_SUMS, _key(group, RUN_COLUMNS), parameters)


async def sum_costs(
    session: AsyncSession, tenant_id: UUID, span: Span, wanted: RunFilter, group: str, usage_type: str | None = None
) -> Grouped:
    """Credits that were spent in the span, as the ledger has them. `usage_type`: of this type alone."""
    given = {"workflow_id": wanted.workflow_id, "usage_type": usage_type}
    given = {name: value for name, value in given.items() if value is not None}
    conditions = "".join(f" AND {name} = :{name}" for name in given)
    # entries after the mark are in no roll-up; their numbers have the order of their commits
    mark: int = (await session.execute(_MARK, {"tenant": tenant_id})).scalar_one()
    rolled = ("number > CAST(:mark AS bigint)", "number <= CAST(:mark AS bigint)")
    facts = _facts("cost", (_column(group, COST_COLUMNS),), _COST_SUMS, conditions, rolled)
    parameters = {**_span(span, group, totals=not given), **given, "tenant": tenant_id, "mark": mark}
    return await _grouped(session, facts, _COST_SUMS, _key(group, COST_COLUMNS), parameters)


async def sum_api_calls(session: AsyncSession, tenant_id: UUID, span: Span, group: str) -> Grouped:
    """Requests that arrived in the hours of the span: an hour that has begun in it counts as a whole."""
    facts = "SELECT hour AS at, calls FROM api_usage_hours WHERE tenant_id = :tenant AND hour >= date_trunc('hour', CAST(:start AS timestamptz), 'UTC') AND hour < :end"
    parameters = {"tenant": tenant_id, "start": span.start, "end": span.end, "unit": group, "zone": span.zone}
    return await _grouped(session, facts, ("calls",), _key(group, {}), parameters)


async def sum_failures(
    session: AsyncSession, tenant_id: UUID, span: Span, wanted: RunFilter, unit: str
) -> Sequence[Row[Any]]:
    """Everything that went wrong in the span, also what a run got over: by time, type, severity and what became of it."""
    conditions, values = wanted.conditions()
    of_runs = (
        f"AND EXISTS (SELECT FROM execution_metrics WHERE execution_id = f.execution_id{conditions})" if values else ""
    )
    query = text(f"""
        SELECT {_time("created_at")} AS key, failure_type, severity, recovery_status, count(*) AS failures
        FROM failures f
        WHERE tenant_id = :tenant AND created_at >= :start AND created_at < :end {of_runs}
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2
    """)  # noqa: S608 - made of our own names
    parameters = {"tenant": tenant_id, "start": span.start, "end": span.end, "unit": unit, "zone": span.zone, **values}
    return (await session.execute(query, parameters)).all()


async def names_of_workflows(session: AsyncSession, tenant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str]:
    query = text("SELECT id, name FROM workflows WHERE tenant_id = :tenant AND id = ANY(CAST(:ids AS uuid[]))")
    return {row.id: row.name for row in await session.execute(query, {"tenant": tenant_id, "ids": list(ids)})}


def _facts(
    kind: str,
    keys: Sequence[str],
    sums: Sequence[str],
    conditions: str,
    rolled: tuple[str, str] = ("NOT rolled", "rolled"),
) -> str:
    """What is to be summed up, by its keys: roll-ups of whole days and hours, rows that are in none, and rolled rows of the
    other pieces of the span. `rolled` tells the two kinds of rows apart.
    """
    columns = ", ".join((*keys, *sums))
    # the moment that a roll-up begins is in the group in which all of it is
    row_columns = ", ".join(f"{_time('at')} AS at" if name == "at" else name for name in (*keys, *sums))
    new, old = rolled
    # a look-up for each piece, whatever the planner takes their number for
    return f"""
        SELECT {", ".join(keys)}, {_sums(sums)} FROM (
            SELECT found.* FROM pieces CROSS JOIN LATERAL (
                SELECT {columns} FROM {kind}_rollups
                WHERE tenant_id = :tenant AND size = pieces.size AND at >= begins AND at < ends{conditions} OFFSET 0
            ) AS found WHERE pieces.size <> 'rows'
            UNION ALL
            SELECT {row_columns} FROM {kind}_facts
            WHERE tenant_id = :tenant AND {new} AND at >= :start AND at < :end{conditions}
            UNION ALL
            SELECT found.* FROM pieces CROSS JOIN LATERAL (
                SELECT {row_columns} FROM {kind}_facts
                WHERE tenant_id = :tenant AND {old} AND at >= begins AND at < ends{conditions} OFFSET 0
            ) AS found WHERE pieces.size = 'rows'
        ) AS parts GROUP BY {", ".join(keys)}
    """  # noqa: S608 - made of our own names


#: The parts of a span, as `Span.pieces` tells them.
PIECES = """
    SELECT * FROM unnest(CAST(:sizes AS text[]), CAST(:begins AS timestamptz[]), CAST(:ends AS timestamptz[]))
        AS pieces (size, begins, ends)
"""


def _column(group: str, columns: dict[str, str]) -> str:
    return columns.get(group, "at")


def _key(group: str, columns: dict[str, str]) -> str:
    return columns.get(group) or _time("at")


def _time(moment: str) -> str:
    return f"date_trunc(CAST(:unit AS text), {moment}, CAST(:zone AS text))"


def _sums(names: Sequence[str]) -> str:
    # sums of bigints are decimals, and costs of a great many runs fit a bigint
    return ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in names)


def _span(span: Span, group: str, *, totals: bool) -> dict[str, Any]:
    """`totals`: nothing but time is asked for, so the roll-ups of the whole tenant say it, and are far fewer."""
    by_time = group in UNITS
    values = {"start": span.start, "end": span.end, **span.pieces(group, totals=totals and by_time)}
    return {**values, "unit": group, "zone": span.zone} if by_time else values


async def _grouped(
    session: AsyncSession, facts: str, sums: Sequence[str], key: str, parameters: dict[str, Any]
) -> Grouped:
    pieces = f"pieces AS ({PIECES}), " if "pieces" in facts else ""
    query = text(f"""
        WITH {pieces}facts AS ({facts}), keyed AS (SELECT *, {key} AS key FROM facts)
        SELECT GROUPING(key) AS over_keys, key, {_sums(sums)} FROM keyed GROUP BY GROUPING SETS ((), (key)) ORDER BY key
    """)  # noqa: S608 - made of our own names
    rows = (await session.execute(query, parameters)).all()
    # what was taken out of a roll-up leaves zeros behind
    groups = [row for row in rows if not row.over_keys and any(getattr(row, name) for name in sums)]
    return Grouped(next(row for row in rows if row.over_keys), groups)
