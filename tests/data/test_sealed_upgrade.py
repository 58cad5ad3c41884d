"""A database from before values were sealed: everything in it stays readable, and it can go back until something is sealed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import select

from models.repositories.executions import ExecutionRepository
from models.tables import Effect, Execution, JournalEntry, WorkflowVersion
from models.tables.base import new_id, now
from tests.data.test_migrations import alembic
from tests.support.database import database_at

TENANT, WORKFLOW, VERSION, EXECUTION = (new_id() for _ in range(4))
DEFINITION = {"z": 1, "a": {"prompt": "ä\u2028"}}
#: Rows as they were, by table.
ROWS: dict[str, dict[str, Any]] = {
    "tenants": {
        "id": TENANT,
        "name": "n",
        "slug": "s",
        "subscription_tier": "starter",
        "subscription_status": "active",
        "credits_balance": 0,
        "max_checkpoints_per_month": 1,
        "max_concurrent_executions": 1,
        "max_api_calls_per_month": 1,
        "settings": "{}",
        "created_at": now(),
        "updated_at": now(),
    },
    "workflows": {
        "id": WORKFLOW,
        "tenant_id": TENANT,
        "name": "n",
        "description": "free text",
        "framework": "langgraph",
        "version": 1,
        "is_active": True,
        "tags": [],
        "created_at": now(),
        "updated_at": now(),
    },
    "workflow_versions": {
        "id": VERSION,
        "tenant_id": TENANT,
        "workflow_id": WORKFLOW,
        "version": 1,
        "framework": "langgraph",
        "workflow_definition": json.dumps(DEFINITION),
        "created_at": now(),
    },
    "executions": {
        "id": EXECUTION,
        "tenant_id": TENANT,
        "workflow_id": WORKFLOW,
        "version_id": VERSION,
        "workflow_version": 1,
        "framework": "langgraph",
        "title": "t",
        "trigger_type": "api",
        "status": "failed",
        "inputs": '{"topic": "ä"}',
        "outputs": "null",
        "error_message": "what went wrong: ä",
        "lineage": 0,
        "first_step": "start",
        "planned_steps": 0,
        "steps_done": 0,
        "checkpoint_count": 0,
        "retry_count": 0,
        "metadata": "{}",
        "created_at": now(),
        "updated_at": now(),
    },
    "effects": {
        "id": new_id(),
        "tenant_id": TENANT,
        "execution_id": EXECUTION,
        "lineage": 0,
        "step_index": 0,
        "idempotency_key": "k",
        "tool": "t",
        "arguments": json.dumps({"$json": json.dumps({"text": "a\x00b"})}),
        "result": '{"done": true}',
        "reversible": False,
        "status": "done",
        "created_at": now(),
    },
    "call_journal": {
        "execution_id": EXECUTION,
        "lineage": 0,
        "step_index": 0,
        "request_hash": "h",
        "occurrence": 0,
        "id": new_id(),
        "tenant_id": TENANT,
        "kind": "model",
        "name": "m",
        "endpoint": "e",
        "attempt": 1,
        "content_type": "c",
        "answer": b"\x01answer",
        "input_tokens": 0,
        "output_tokens": 0,
        "cost": 0,
        "latency_ms": 0,
        "created_at": now(),
    },
}


async def insert_rows(url: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    for table, row in ROWS.items():
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
    await connection.close()


async def read(url: str) -> tuple[Execution, WorkflowVersion, Effect, JournalEntry]:
    database = database_at(url)
    async with database.transaction(TENANT) as session:
        found: list[Any] = [
            (await session.execute(select(table))).scalar_one()
            for table in (Execution, WorkflowVersion, Effect, JournalEntry)
        ]
    await database.close()
    return found[0], found[1], found[2], found[3]


async def seal_something(url: str) -> None:
    database = database_at(url)
    async with database.transaction(TENANT) as session:
        row = await ExecutionRepository(session, TENANT).get(EXECUTION)
        row.error_message = "sealed"
        session.add(row)
    await database.close()


def check_rows(url: str) -> None:
    execution, version, effect, entry = asyncio.run(read(url))
    assert (execution.inputs, execution.outputs, execution.policy) == ({"topic": "ä"}, None, None)
    assert execution.error_message == "what went wrong: ä"
    assert list(version.workflow_definition) == ["z", "a"]
    assert version.workflow_definition == DEFINITION
    assert (effect.arguments, effect.result) == ({"text": "a\x00b"}, {"done": True})
    assert entry.answer == b"\x01answer"


def test_rows_from_before_stay_readable_and_go_back_until_something_is_sealed(empty_url: str) -> None:
    alembic(empty_url, lambda config: command.upgrade(config, "0005"))
    asyncio.run(insert_rows(empty_url))
    alembic(empty_url, lambda config: command.upgrade(config, "head"))
    check_rows(empty_url)

    alembic(empty_url, lambda config: command.downgrade(config, "0005"))
    alembic(empty_url, lambda config: command.upgrade(config, "head"))
    check_rows(empty_url)

    asyncio.run(seal_something(empty_url))
    with pytest.raises(Exception, match="cannot go back behind 0006"):
        alembic(empty_url, lambda config: command.downgrade(config, "0005"))
