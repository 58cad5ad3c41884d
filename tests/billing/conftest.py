"""The API in this process on the database of the suite, and a tenant that has and spends credits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, Charge, LedgerRepository, Movement, reserve
from models.tables import Agent, JournalEntry, Table
from models.tables.base import new_id
from omium_core.credits import MICRO
from tests.api.conftest import Caller, KeyMaker
from tests.api.conftest import app as app
from tests.api.conftest import as_caller as as_caller
from tests.api.conftest import database as database
from tests.api.conftest import key_of as key_of
from tests.api.conftest import settings as settings
from tests.api.conftest import tenant as tenant
from tests.support.tenants import Owned, add_execution


@dataclass
class Payer:
    """A tenant whose credits move as those of runs do."""

    database: Database
    tenant: UUID
    _calls: int = field(default=0)

    async def grant(self, credits: float, source: str = "purchase", key: str | None = None, **options: Any) -> bool:
        movement = Movement(key or f"grant:{new_id()}", int(credits * MICRO), source)
        async with self.database.transaction(self.tenant) as db:
            return await LedgerRepository(db, self.tenant).grant(movement, **options)

    async def run(self, status: str = "running") -> Owned:
        """A run with no step yet."""
        owned = await add_execution(self.database, self.tenant, status=status)
        for statement in (
            "DELETE FROM call_journal WHERE execution_id = :id",
            "DELETE FROM agents WHERE execution_id = :id",
            "UPDATE executions SET forked_from = NULL WHERE id = :id",
        ):
            await self.execute(text(statement), id=owned.execution)
        return owned

    async def step(
        self, run: Owned, index: int, status: str = "completed", *, lineage: int = 0, attempt: int = 1, name: str = ""
    ) -> None:
        await self.add(
            Agent(
                tenant_id=self.tenant,
                execution_id=run.execution,
                lineage=lineage,
                step_index=index,
                name=name or f"step {index}",
                framework="langgraph",
                status=status,
                attempt=attempt,
            )
        )

    async def call(
        self,
        run: Owned,
        index: int,
        micro: int,
        *,
        lineage: int = 0,
        attempt: int = 1,
        used_by: int | None = None,
        resource: str = "small",
        usage_type: str = "model",
        tokens: tuple[int, int, int] = (10, 4, 5),
        held: int | None = None,
        enforced: bool = False,
    ) -> CallKey:
        """A call that was made, journaled and paid for."""
        self._calls += 1
        key = CallKey(StepKey(run.execution, lineage, index), f"{self._calls:064d}", 0)
        await reserve(self.database, self.tenant, key, attempt, micro if held is None else held, enforced=enforced)
        charge = Charge(micro, usage_type, resource, f"step {index}", attempt, *tokens)
        async with self.database.transaction(self.tenant) as db:
            await LedgerRepository(db, self.tenant).settle(key, charge)
        await self.add(
            JournalEntry(
                tenant_id=self.tenant,
                execution_id=run.execution,
                lineage=lineage,
                step_index=index,
                request_hash=key.request_hash,
                occurrence=0,
                kind=usage_type,
                name=resource,
                endpoint="/chat/completions",
                attempt=attempt,
                used_by=attempt if used_by is None else used_by,
                content_type="application/json",
                answer=b"x",
                input_tokens=tokens[0],
                output_tokens=tokens[2],
                cost=micro,
            )
        )
        return key

    async def add(self, row: Table) -> None:
        async with self.database.transaction(self.tenant) as db:
            db.add(row)

    async def execute(self, statement: Any, **values: Any) -> Any:
        async with self.database.transaction(self.tenant) as db:
            return await db.execute(statement, values)


@pytest.fixture
def payer(database: Database, tenant: UUID) -> Payer:
    return Payer(database, tenant)


@pytest.fixture
async def http(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may see payments as well as usage."""
    async with as_caller(await key_of(tenant, "read", "admin")) as client:
        yield client
