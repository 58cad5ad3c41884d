"""A tenant with a row in every table, and words of its own in all of them that take words.

The rows are made from the tables themselves, so that a table that is new gets one too. What the checks of a table want is
said in `GIVEN`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Column, String, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.sql.sqltypes import JSON, Date, DateTime, Integer, LargeBinary, Uuid
from sqlmodel import AutoString

from models.database import Database
from models.sealing import SealedBytes, SealedJson, SealedText, sealed_with
from models.tables import Table, Tenant
from models.tables.base import new_id
from tests.support.tenants import add_execution

#: Kept by the platform for itself, and nothing that a route shows.
APART = {"tenant_keys", "audit_pending", "audit_chain", "audit_heads", "api_usage"}
#: Once written, they stay.
APPEND_ONLY = {"audit_logs", "ledger_entries"}
DEFINITION = {
    "nodes": [{"id": "say", "type": "template", "template": "x", "output": "text"}],
    "edges": [{"from": "START", "to": "say"}, {"from": "say", "to": "END"}],
    "state": {"text": {"type": "string"}},
}
#: What the rows of a table must have, where a text or a number of the test's own would not do.
GIVEN: dict[str, dict[str, Any]] = {
    "external_workflow_connections": {
        **{"connection_type": "crewai_aop", "bearer_token_encrypted": "none"},
        # refused before anything is sent
        "crew_url": "http://127.0.0.1/",
    },
    "workflow_versions": {"workflow_definition": DEFINITION, "input_schema": None},
    "execution_policies": {"policy_config": {"max_retries": 1}},
    "execution_policy_versions": {"policy_config": {"max_retries": 1}},
    "schedules": {"cron": ["0 0 1 1 *"]},
    "webhook_endpoints": {"events": ["execution.*"], "enabled": False},
    "credit_accounts": dict.fromkeys(("available", "held", "spent", "outside"), 0),
    "ledger_entries": {"kind": "settle", "available": 0, "held": 0, "spent": 1, "outside": -1},
    # the tenant's own, which has no id of its own
    "budgets": {"scope_id": None},
    "parked_runs": {"reason": "credits"},
    "billing_notices": {"kind": "credits.low", "sent_at": datetime(2026, 1, 1, tzinfo=UTC), "data": {}},
    "audit_logs": {"action": "workflow.create", "resource_type": "workflow"},
}
#: Columns that hold a word of the platform's, although no check says so.
NOT_FREE = {"framework", "timezone", "triggered_by", "subject", "host", "method"}
#: Columns that hold a list.
LISTS = {"preconditions", "postconditions"}


@dataclass
class Furnished:
    """What a tenant has: the id of one row by the name of its table, all ids of its rows, and its word."""

    tenant: UUID
    word: str
    ids: dict[str, str] = field(default_factory=dict)
    all_ids: set[str] = field(default_factory=set)


@asynccontextmanager
async def superuser(url: str) -> AsyncIterator[AsyncEngine]:
    """The database as nobody of ours enters it: without row security."""
    engine = create_async_engine(url, pool_size=1)
    yield engine
    await engine.dispose()


async def furnish(url: str, database: Database, tenant: UUID, word: str) -> Furnished:
    """Fills every table for a tenant. `word` is then in all texts of it."""
    owned = await add_execution(database, tenant)
    cipher = await database.keys.cipher(tenant)
    found = Furnished(tenant, word)
    found.ids = {"tenants": str(tenant), "executions": str(owned.execution), "agents": str(owned.step)}
    async with superuser(url) as engine, AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        with sealed_with(cipher):
            for model in _models():
                columns = model.__table__.c  # type: ignore[attr-defined]
                if model.__tablename__ not in APART and ("tenant_id" in columns or model.__tablename__ == "accounts"):
                    await _furnish(session, model, found)
    found.all_ids = {found.ids["tenants"]}
    async with superuser(url) as engine:
        for rows in (await snapshot(engine, tenant)).values():
            found.all_ids |= {row["id"] for row in map(json.loads, rows) if isinstance(row.get("id"), str)}
    return found


async def snapshot(engine: AsyncEngine, tenant: UUID) -> dict[str, list[str]]:
    """All rows of a tenant as they lie there, by table."""
    found: dict[str, list[str]] = {}
    async with engine.connect() as connection:
        for model in _models():
            name = model.__tablename__
            column = "id" if name == "tenants" else "tenant_id"
            if column in model.__table__.c:  # type: ignore[attr-defined]
                query = text(f"SELECT to_jsonb(t)::text FROM {name} t WHERE {column} = :tenant ORDER BY 1")
                found[str(name)] = list((await connection.execute(query, {"tenant": tenant})).scalars())
    return found


def _models() -> Sequence[type[Table]]:
    """All tables, those that others refer to first."""
    by_table = {mapper.local_table: mapper.class_ for mapper in Tenant._sa_registry.mappers}
    return [by_table[table] for table in Table.metadata.sorted_tables]


async def _furnish(session: AsyncSession, model: type[Table], found: Furnished) -> None:
    table = model.__table__  # type: ignore[attr-defined]
    rows: list[Any] = []
    if "tenant_id" in table.c:
        rows = list((await session.execute(select(model).where(table.c.tenant_id == found.tenant))).scalars())
    if not rows:
        rows = [_new(model, found)]
        session.add_all(rows)
    if table.name not in APPEND_ONLY or inspect(rows[0]).pending:
        for row in rows:
            _mark(row, found.word)
    await session.flush()
    if "id" in table.c:
        found.ids.setdefault(table.name, str(rows[0].id))


def _new(model: type[Table], found: Furnished) -> Any:
    row = model()
    for attribute in inspect(model).column_attrs:
        column: Any = attribute.columns[0]
        targets = [key.column.table.name for key in column.foreign_keys]
        if column.name in GIVEN.get(column.table.name, {}):
            setattr(row, attribute.key, GIVEN[column.table.name][column.name])
        elif targets and targets[0] in found.ids and targets[0] != column.table.name:
            setattr(row, attribute.key, UUID(found.ids[targets[0]]))
        elif not column.nullable and getattr(row, attribute.key, None) is None and not _of_the_database(column):
            setattr(row, attribute.key, _anything(column))
    return row


def _of_the_database(column: Column[Any]) -> bool:
    return column.identity is not None or column.computed is not None


def _checks(table: Any) -> str:
    return " ".join(str(getattr(constraint, "sqltext", "")) for constraint in table.constraints)


def _kind(column: Column[Any]) -> Any:
    """The type of a column; SQLModel wraps that of texts."""
    return column.type.impl_instance if isinstance(column.type, AutoString) else column.type


def _anything(column: Column[Any]) -> Any:
    """A value of the column's type that no other row has."""
    one_of = rf"\b{column.name} (?:IN \('|= ANY \('{{)(\w+)"
    kind, allowed = _kind(column), re.search(one_of, _checks(column.table))
    if allowed:
        return allowed[1]
    if isinstance(kind, SealedText | String):
        return (new_id().hex * 2)[: getattr(kind, "length", None) or 64]
    if isinstance(kind, SealedBytes | LargeBinary) and not isinstance(kind, SealedJson):
        return new_id().bytes
    if isinstance(kind, DateTime):
        return datetime(2100, 1, 1, tzinfo=UTC)
    for known, value in (
        (Uuid, new_id()),
        (Integer, 1),
        (Date, date(2026, 1, 1)),
        (ARRAY, []),
        (JSON | SealedJson, {}),
    ):
        if isinstance(kind, known):
            return value
    raise NotImplementedError(f"tests/isolation/rows.py has no value for {column.table.name}.{column.name}")


def _mark(row: Any, word: str) -> None:
    """Puts the word wherever there is room for any text."""
    table = row.__table__
    checks = _checks(table)
    for attribute in inspect(type(row)).column_attrs:
        column, kind = attribute.columns[0], _kind(attribute.columns[0])
        if column.primary_key or column.foreign_keys or column.name in NOT_FREE | LISTS or column.name in checks:
            continue
        if column.name in GIVEN.get(table.name, {}):
            setattr(row, attribute.key, GIVEN[table.name][column.name])
            continue
        if isinstance(kind, SealedText) or (isinstance(kind, String) and (kind.length or 1000) >= 100):
            setattr(row, attribute.key, f"{word} {column.name} {new_id()}"[: getattr(kind, "length", None)])
        elif isinstance(kind, SealedJson | JSON) and isinstance(getattr(row, attribute.key), dict | None):
            setattr(row, attribute.key, {**(getattr(row, attribute.key) or {}), "note": word})
