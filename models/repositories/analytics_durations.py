"""How long runs took: the median and the 95th percentile.

They are exact for up to `EXACT` runs. Of more, each run counts as long as the middle of its bucket, which is 2 % wide, so they
are at most one percent off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.analytics import RUN_COLUMNS, RunFilter
from models.repositories.analytics_span import DAY, UNITS, Span
from models.tables.metrics import WHOLE

#: Runs whose durations are sorted; the rest of an answer takes about as long.
EXACT = 100_000
_BASE = 1.02
#: The median and the 95th percentile, in whole milliseconds.
Percentiles = tuple[int, int]


async def percentiles(
    session: AsyncSession, tenant_id: UUID, span: Span, wanted: RunFilter, group: str, runs: int
) -> tuple[Percentiles | None, Mapping[Any, Percentiles]]:
    """Of all runs that ended well or failed, and of each group. `runs` is how many there are.

    Of more than `EXACT` runs, groups that no day of UTC is cut by have them.
    """
    if not runs:
        return None, {}
    conditions, values = wanted.conditions()
    values |= {"tenant": tenant_id}
    if runs <= EXACT:
        return await _exact(session, span, group, conditions, values)
    of_whole = group in UNITS and wanted.workflow_id is None and wanted.framework is None
    return await _about(session, span, group, conditions, values, of_whole=of_whole)


async def _exact(
    session: AsyncSession, span: Span, group: str, conditions: str, values: dict[str, Any]
) -> tuple[Percentiles | None, Mapping[Any, Percentiles]]:
    query = text(f"""
        WITH ended AS (
            SELECT total_duration_ms, {_key(group, "created_at", model="coalesce(llm_model, '')")} AS key FROM execution_metrics
            WHERE tenant_id = :tenant AND created_at >= :start AND created_at < :end
              AND status IN ('completed', 'failed'){conditions}
        )
        SELECT GROUPING(key) AS over_keys, key,
               percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY total_duration_ms) AS found
        FROM ended GROUP BY GROUPING SETS ((), (key))
    """)  # noqa: S608 - made of our own names
    parameters = {**values, "start": span.start, "end": span.end, **_unit(group, span)}
    total: Percentiles | None = None
    groups: dict[Any, Percentiles] = {}
    for row in await session.execute(query, parameters):
        if row.found is None:
            continue
        pair = (round(row.found[0]), round(row.found[1]))
        if row.over_keys:
            total = pair
        else:
            groups[row.key] = pair
    return total, groups


async def _about(
    session: AsyncSession, span: Span, group: str, conditions: str, values: dict[str, Any], *, of_whole: bool
) -> tuple[Percentiles | None, Mapping[Any, Percentiles]]:
    by_time = group in UNITS
    grouped = not by_time or (group != "hour" and span.in_step_with_utc("day"))
    column = RUN_COLUMNS.get(group, "at")
    rows = f"""
        SELECT {column}, bucket, executions FROM execution_facts
        WHERE tenant_id = :tenant AND bucket IS NOT NULL{conditions}"""  # noqa: S608 - made of our own names
    key = column if not by_time else _key(group, "at") if grouped else "CAST(NULL AS text)"
    # a day has many rows, and is told once what it belongs to
    query = text(f"""
        WITH facts AS (
            SELECT {"day AS at" if by_time else column}, bucket, executions FROM duration_rollups
            WHERE tenant_id = :tenant AND workflow_id {"=" if of_whole else "<>"} '{WHOLE}'
              AND day >= :first AND day < :last{conditions}
            UNION ALL {rows} AND NOT rolled AND at >= :start AND at < :end
            UNION ALL {rows} AND rolled AND at >= :start AND at < :first
            UNION ALL {rows} AND rolled AND at >= :last AND at < :end
        ), counts AS (SELECT {column}, bucket, sum(executions)::bigint AS executions FROM facts GROUP BY 1, 2)
        SELECT {key} AS key, bucket, sum(executions)::bigint AS runs FROM counts GROUP BY 1, 2
    """)  # noqa: S608 - made of our own names
    first, last = span.whole(DAY)
    parameters = {**values, "start": span.start, "end": span.end, "first": first, "last": last}
    parameters |= _unit(group, span) if grouped else {}
    total: dict[int, int] = defaultdict(int)
    groups: dict[Any, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in await session.execute(query, parameters):
        total[row.bucket] += row.runs
        groups[row.key][row.bucket] += row.runs
    found = {key: pair for key, counts in groups.items() if (pair := _of_buckets(counts)) is not None}
    return _of_buckets(total), found if grouped else {}


def _of_buckets(counts: Mapping[int, int]) -> Percentiles | None:
    runs = sum(counts.values())
    if not runs:
        return None
    found = []
    for part in (0.5, 0.95):
        left = part * runs
        for bucket in sorted(counts):
            left -= counts[bucket]
            if left <= 0:
                break
        found.append(round(_BASE ** (bucket + 0.5)))
    return found[0], found[1]


def _key(group: str, time: str, *, model: str = "llm_model") -> str:
    if group == "model":
        return model
    return RUN_COLUMNS.get(group) or f"date_trunc(CAST(:unit AS text), {time}, CAST(:zone AS text))"


def _unit(group: str, span: Span) -> dict[str, str]:
    return {"unit": group, "zone": span.zone} if group in UNITS else {}
