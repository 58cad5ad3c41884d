"""How long analytics take on many executions, without roll-ups and with them, and what a roll-up takes.

    .venv/bin/python -m benchmarks.analytics [--executions 1000000] [--steps 2] [--days 90] [--repeat 5]

A PostgreSQL of its own is filled with runs of one tenant, spread over the days, with metrics, ledger entries and failures, by
statements of SQL. Then the API, in this process, is asked for each of its analytics: as whole answers, over HTTP without a
network, in milliseconds. `same` says whether answers with roll-ups are those without them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from activities.maintenance.rollups import RollupActivities
from api.app import create_app
from benchmarks.common import show, spread
from models.database import Database
from models.tables.base import now
from omium_core.settings import Settings
from tests.support.database import database_at, running_postgres
from tests.support.tenants import add_key, add_tenant

#: Rows appear as the platform leaves them; what makes them there is not what is measured here.
FILL = (
    "SET session_replication_role = replica",
    "SELECT setseed(0.5)",
    """
    INSERT INTO workflows (id, tenant_id, name, framework, version, is_active, tags, created_at, updated_at)
    SELECT uuidv7(), $1, 'workflow ' || n, 'langgraph', 1, true, '{}', now(), now() FROM generate_series(1, 10) n
    """,
    """
    INSERT INTO execution_metrics (id, tenant_id, execution_id, workflow_id, framework, llm_model, status, failure_type,
        total_duration_ms, checkpoint_overhead_us, total_llm_calls, total_tool_calls, total_tokens, cost_micro,
        checkpoint_count, checkpoint_bytes, failure_count, retry_count, created_at, measured_at)
    SELECT uuidv7(), $1, uuidv7(), flows.ids[1 + n % 10],
        (ARRAY['langgraph', 'crewai', 'autogen', 'semantic_kernel'])[1 + n % 4],
        (ARRAY['large', 'small', 'tiny'])[1 + (n / 7) % 3],
        CASE WHEN chance < 0.93 THEN 'completed' WHEN chance < 0.98 THEN 'failed' WHEN chance < 0.999 THEN 'cancelled'
             ELSE 'running' END,
        CASE WHEN chance >= 0.93 AND chance < 0.98 THEN (ARRAY['timeout', 'hallucination', 'tool_invocation'])[1 + n % 3] END,
        (exp(6 + 4 * random()))::bigint, 1500, $4::int, 1, 900, 350000, $4::int, 4000 * $4::int,
        CASE WHEN chance >= 0.93 AND chance < 0.98 THEN 1 ELSE 0 END, 0, made, made
    FROM (
        SELECT n, random() AS chance, $2::timestamptz + random() * $3::interval AS made FROM generate_series(1, $5::int) n ORDER BY made
    ) runs, (SELECT array_agg(id) AS ids FROM workflows WHERE tenant_id = $1) flows
    """,
    """
    INSERT INTO agent_metrics (id, tenant_id, agent_id, execution_id, workflow_id, framework, status, duration_ms, llm_model,
        llm_calls, tokens_used, cost_micro, tool_calls, checkpoint_bytes, measured_at)
    SELECT uuidv7(), tenant_id, uuidv7(), execution_id, workflow_id, framework, 'completed',
        total_duration_ms / $2::int, llm_model, 1, 900 / $2::int, 350000 / $2::int, 1, 4000, created_at + n * interval '1 second'
    FROM execution_metrics, generate_series(1, $2::int) n WHERE tenant_id = $1 AND status <> 'running'
    """,
    """
    INSERT INTO ledger_entries (tenant_id, number, id, idempotency_key, kind, available, held, spent, outside, unpaid,
        balance_after, execution_id, workflow_id, usage_type, resource, agent, input_tokens, output_tokens, metadata,
        created_at)
    SELECT tenant_id, row_number() OVER (ORDER BY created_at), uuidv7(), execution_id::text, 'settle', 0, -350000,
        350000, 0, 0, 0, execution_id, workflow_id, 'model', llm_model, 'agent ' || framework, 600, 300, '{}', created_at
    FROM execution_metrics WHERE tenant_id = $1
    """,
    """
    INSERT INTO failures (id, tenant_id, execution_id, lineage, failure_type, severity, error_message, is_recoverable,
        recovery_status, metadata, created_at)
    SELECT uuidv7(), tenant_id, execution_id, 0, failure_type, 'high', '', true, 'pending', '', created_at
    FROM execution_metrics WHERE tenant_id = $1 AND status = 'failed'
    """,
    "SET session_replication_role = origin",
)

Question = tuple[str, dict[str, str]]


async def fill(url: str, tenant: UUID, executions: int, steps: int, days: int) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    values: dict[str, tuple[Any, ...]] = {
        "execution_metrics": (tenant, now() - timedelta(days=days), timedelta(days=days), steps, executions),
        "agent_metrics": (tenant, steps),
    }
    # nothing here has to outlive a power failure
    for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '8GB'"):
        await connection.execute(f"ALTER SYSTEM SET {setting}")
    await connection.execute("SELECT pg_reload_conf()")
    for statement in FILL:
        table = statement.split("INTO ")[1].split(" ")[0] if "INTO" in statement else ""
        given = values.get(table, (tenant,) if table else ())
        await connection.execute(statement, *given)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return time.monotonic() - began


def questions(days: int) -> dict[str, Question]:
    first = (now() - timedelta(days=days)).date().isoformat()
    month = (now() - timedelta(days=29)).date().isoformat()
    everything = {"start_date": first}
    return {
        **{
            f"executions by {group}": ("executions", {**everything, "group_by": group})
            for group in ("day", "week", "workflow", "framework", "model")
        },
        "executions of 30 days by hour": ("executions", {"start_date": month, "group_by": "hour"}),
        "executions of 30 days by day": ("executions", {"start_date": month}),
        "executions by day in Berlin": ("executions", {**everything, "timezone": "Europe/Berlin"}),
        "executions by day in Kolkata": ("executions", {**everything, "timezone": "Asia/Kolkata"}),
        "usage by day": ("usage", everything),
        "costs by day": ("costs", everything),
        "failures by day": ("failures", everything),
        "checkpoints by day": ("checkpoints", everything),
    }


async def ask(
    client: httpx.AsyncClient, asked: dict[str, Question], repeat: int
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    times: dict[str, dict[str, float]] = {}
    answers: dict[str, Any] = {}
    for name, (path, query) in asked.items():
        taken = []
        for _ in range(repeat):
            began = time.monotonic()
            answer = await client.get(f"/api/v1/analytics/{path}", params=query)
            taken.append(time.monotonic() - began)
            answer.raise_for_status()
        times[name] = spread(taken)
        answers[name] = answer.json()["analytics"]
    return times, answers


def exact(answer: Any) -> Any:
    """What does not depend on the moment of asking, and is no estimate."""
    if isinstance(answer, dict):
        left_out = ("per_hour", "period", "p50_duration_ms", "p95_duration_ms", "api_calls")
        return {name: exact(value) for name, value in answer.items() if name not in left_out}
    return [exact(value) for value in answer] if isinstance(answer, list) else answer


async def roll_up(database: Database, tenant: UUID) -> dict[str, Any]:
    began = time.monotonic()
    counts = await RollupActivities(database).roll_up_now(tenant)
    seconds = time.monotonic() - began
    return {**counts, "seconds": round(seconds, 1), "rows_per_second": round(sum(counts.values()) / seconds)}


async def measure(url: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    settings = Settings(database_url=url, store_path=folder, rate_limits_enabled=False)
    database = database_at(url)
    tenant = await add_tenant(database)
    key = await add_key(database, tenant, settings.api_key_pepper.get_secret_value(), "read")
    filled = await fill(url, tenant, options.executions, options.steps, options.days)
    asked = questions(options.days)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers={"X-API-Key": key}, timeout=120
        ) as client:
            without, answers_without = await ask(client, asked, options.repeat)
            rolled = await roll_up(database, tenant)
            connection = await asyncpg.connect(url.replace("+asyncpg", ""))
            await connection.execute("VACUUM ANALYZE")
            await connection.close()
            with_them, answers_with = await ask(client, asked, options.repeat)
    await database.close()
    return {
        "executions": options.executions,
        "steps": options.executions * options.steps,
        "cores": os.cpu_count(),
        "fill_seconds": round(filled, 1),
        "without_roll_ups_ms": without,
        "roll_up": rolled,
        "with_roll_ups_ms": with_them,
        "same": {name: exact(answers_without[name]) == exact(answers_with[name]) for name in asked},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="omium-benchmark-") as folder,
        running_postgres(Path(folder) / "postgres") as server,
    ):
        show(asyncio.run(measure(server.url, Path(folder) / "store", options)))


if __name__ == "__main__":
    main()
