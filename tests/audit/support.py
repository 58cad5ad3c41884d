"""What tests of the chain share: entries, whoever has the whole database, and the check."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from activities.maintenance.verification import Verdict, verify
from activities.stores.file import FileStore
from models.database import Database
from models.repositories.audit import AuditEntry, write_entry
from models.tables.base import new_id
from omium_core.settings import Settings

TABLES = ("audit_logs", "audit_chain", "audit_heads", "audit_pending")


async def write(database: Database, tenant: UUID, count: int = 1, **fields: object) -> list[UUID]:
    entries = [AuditEntry(tenant, "policy.update", "policy", new_id(), **fields) for _ in range(count)]  # type: ignore[arg-type]
    async with database.transaction(tenant) as session:
        for entry in entries:
            await write_entry(session, entry)
    return [entry.id for entry in entries]


async def tamper(owner: asyncpg.Connection, *statements: str) -> None:
    """What somebody does who has the whole database."""
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await owner.execute(statement)


class Checks:
    def __init__(self, database: Database, settings: Settings, objects: FileStore) -> None:
        self._all = (database, settings, objects)

    async def __call__(self, **options: object) -> Verdict:
        return await verify(*self._all, **options)  # type: ignore[arg-type]
