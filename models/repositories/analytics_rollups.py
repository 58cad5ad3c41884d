"""Puts what is over into roll-ups, a batch in a transaction.

A row is marked as `rolled` in the transaction that adds it to its roll-up, so whoever adds up both sees it once. A row that
changes after that is taken out by a trigger (migration 0014), and comes again here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.metrics import WHOLE

#: Rows of one transaction.
BATCH = 5000
#: Rows from which on a tenant is rolled up: fewer are summed up in no time.
WORTH = 1000
#: Tenants that have their turn at once.
MOST_TENANTS = 500

_ENDED = "status IN ('completed', 'failed', 'cancelled')"


def _take(table: str, condition: str, order: str) -> str:
    """Marks the next rows; one that somebody is changing now is left for the next time."""
    return f"""
        WITH due AS (
            SELECT id FROM {table} WHERE tenant_id = :tenant AND NOT rolled{condition}
            ORDER BY {order} LIMIT :batch FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE {table} SET rolled = true FROM due WHERE {table}.id = due.id RETURNING {table}.id
        )
        SELECT coalesce(array_agg(id), '{{}}') AS ids FROM taken
    """  # noqa: S608 - made of our own names


#: Each fact is added to its day and its hour, and to three of the whole tenant. All of them begin with those of UTC.
_SIZES = """, (VALUES ('day', interval '1 day', false), ('hour', '1 hour', false), ('total_day', '1 day', true),
    ('total_hour', '1 hour', true), ('total_quarter', '15 minutes', true)) AS sizes (size, stride, in_all)"""
_TIMES = {"size": "size", "at": "date_bin(stride, at, '1970-01-01Z')"}
#: A duration counts for its kind of runs, and for the whole tenant.
_KINDS = ", unnest(ARRAY[false, true]) AS in_all"


def _kind(*names: str) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


def _each(*names: str) -> dict[str, str]:
    """What tells kinds apart, and is empty in the rows of the whole tenant."""
    return {name: f"CASE WHEN in_all THEN '' ELSE {name} END" for name in names}


_WORKFLOW = {"workflow_id": f"CASE WHEN in_all THEN '{WHOLE}'::uuid ELSE workflow_id END"}


def _add(table: str, source: str, keys: Mapping[str, str], sums: Sequence[str], condition: str) -> str:
    """Adds facts to a roll-up, its rows always in the same order, so that two who do so do not wait for each other.

    `keys` are the columns that tell rows apart, and what each of them is of a fact.
    """
    columns, named = ", ".join((*keys, *sums)), ", ".join(keys)
    in_order = ", ".join(str(number + 1) for number in range(1 + len(keys)))
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return f"""
        INSERT INTO {table} (tenant_id, {columns})
        SELECT tenant_id, {", ".join(keys.values())}, {", ".join(f"sum({name})" for name in sums)}
        FROM {source} WHERE tenant_id = :tenant AND {condition}
        GROUP BY {in_order} ORDER BY {in_order}
        ON CONFLICT (tenant_id, {named}) DO UPDATE SET {added}
    """  # noqa: S608 - made of our own names


_OF_BATCH = "id = ANY(CAST(:ids AS uuid[]))"
_TAKE_EXECUTIONS = text(_take("execution_metrics", f" AND {_ENDED}", "created_at"))
_ADD_EXECUTIONS = text(
    _add(
        "execution_rollups",
        f"execution_facts{_SIZES}",
        {**_TIMES, **_WORKFLOW, **_each("framework", "llm_model"), **_kind("status", "failure_type")},
        (
            *("executions", "timed", "duration_ms", "checkpoints", "checkpoint_bytes", "llm_calls", "tool_calls"),
            *("tokens", "cost_micro", "rollbacks", "failures", "retries"),
        ),
        _OF_BATCH,
    )
)
_ADD_DURATIONS = text(
    _add(
        "duration_rollups",
        f"execution_facts{_KINDS}",
        {
            **_WORKFLOW,
            "day": "date_trunc('day', at, 'UTC')",
            **_each("framework", "llm_model"),
            **_kind("status", "bucket"),
        },
        ("executions",),
        f"{_OF_BATCH} AND bucket IS NOT NULL",
    )
)
_TAKE_STEPS = text(_take("agent_metrics", "", "measured_at"))
_ADD_STEPS = text(
    _add(
        "step_rollups",
        f"step_facts{_SIZES}",
        {**_TIMES, **_WORKFLOW, **_each("framework")},
        (
            *("steps", "failed", "duration_ms", "checkpoints", "checkpoint_bytes", "llm_calls", "tool_calls", "tokens"),
            "cost_micro",
        ),
        _OF_BATCH,
    )
)
_ADD_COSTS = text(
    _add(
        "cost_rollups",
        f"cost_facts{_SIZES}",
        {**_TIMES, **_WORKFLOW, **_each("usage_type", "resource", "agent")},
        ("charges", "input_tokens", "cached_tokens", "output_tokens", "cost_micro"),
        "number > :after AND number <= :upto",
    )
)
_MARK = text("""
    INSERT INTO rollup_marks (tenant_id, ledger_number) VALUES (:tenant, 0)
    ON CONFLICT (tenant_id) DO UPDATE SET ledger_number = rollup_marks.ledger_number
    RETURNING ledger_number
""")
_NEWEST = text("SELECT coalesce(max(number), 0) FROM ledger_entries WHERE tenant_id = :tenant")
_MOVE_MARK = text("UPDATE rollup_marks SET ledger_number = :upto WHERE tenant_id = :tenant")

_DUE = text(f"""
    SELECT tenant_id FROM execution_metrics WHERE NOT rolled AND {_ENDED} GROUP BY tenant_id HAVING count(*) >= :worth
    UNION
    SELECT tenant_id FROM agent_metrics WHERE NOT rolled GROUP BY tenant_id HAVING count(*) >= :worth
    ORDER BY tenant_id LIMIT :most
""")  # noqa: S608 - made of our own names


async def tenants_to_roll_up(session: AsyncSession, worth: int) -> Sequence[UUID]:
    """Those with many rows that are in no roll-up. In a transaction of the platform itself."""
    return (await session.execute(_DUE, {"worth": worth, "most": MOST_TENANTS})).scalars().all()


async def roll_up_executions(session: AsyncSession, tenant_id: UUID, batch: int = BATCH) -> int:
    """The next runs that have ended; how many. Fewer than the batch are the last ones."""
    ids: list[UUID] = (await session.execute(_TAKE_EXECUTIONS, {"tenant": tenant_id, "batch": batch})).scalar_one()
    if ids:
        # a statement of its own sees the rows as they were when they were marked, and not as they were before that
        for statement in (_ADD_EXECUTIONS, _ADD_DURATIONS):
            await session.execute(statement, {"tenant": tenant_id, "ids": ids})
    return len(ids)


async def roll_up_steps(session: AsyncSession, tenant_id: UUID, batch: int = BATCH) -> int:
    """The next steps; how many."""
    ids: list[UUID] = (await session.execute(_TAKE_STEPS, {"tenant": tenant_id, "batch": batch})).scalar_one()
    if ids:
        await session.execute(_ADD_STEPS, {"tenant": tenant_id, "ids": ids})
    return len(ids)


async def roll_up_costs(session: AsyncSession, tenant_id: UUID, batch: int = BATCH) -> int:
    """The next entries of the ledger; how many."""
    after: int = (await session.execute(_MARK, {"tenant": tenant_id})).scalar_one()
    newest: int = (await session.execute(_NEWEST, {"tenant": tenant_id})).scalar_one()
    upto = min(newest, after + batch)
    if upto > after:
        await session.execute(_ADD_COSTS, {"tenant": tenant_id, "after": after, "upto": upto})
        await session.execute(_MOVE_MARK, {"tenant": tenant_id, "upto": upto})
    return upto - after
